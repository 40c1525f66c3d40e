"""Checks of raw columns that name column, row and value."""

from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from mtlzoo.datamodules.errors import DataError, MissingColumnError

Rows: TypeAlias = range | npt.NDArray[np.int64]
"""Row numbers, counted from 1 over all rows read."""
WHOLE = r"^-?[0-9]+$"
"""How whole numbers are spelt in text, leading zeros included."""
NUMBER = r"^-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
"""How numbers are spelt in text. ``int()``, ``float()``, polars and Arrow each take more: ``0x1``, ``1_000``, ``+1``,
blanks, ``inf``, digits of other scripts. Nobody writes those, so the file is damaged or the column is another one."""


EXACT = 2**53
"""Whole numbers below are themselves as floats; from here on, floats make neighbours one."""
LARGEST_FLOAT = float(np.finfo(np.float32).max)
"""What the networks' numbers, which have 32 bits, can hold."""


_FURTHEST = float(np.finfo(np.float64).max)


def check_columns(source: str, found: Iterable[str], wanted: Iterable[str]) -> None:
    """Refuses a table whose columns are not the wanted ones.

    Raises:
        DataError: Names that occur twice, or wanted ones that do not occur.
    """
    found = list(found)
    if twice := sorted(name for name, times in Counter(found).items() if times > 1):
        raise DataError(f"{source}: column names {twice} occur more than once. Rename them.")
    if missing := [name for name in wanted if name not in found]:
        close = [match for name in missing for match in get_close_matches(name, found, n=1)]
        hint = f" Did you mean {close}?" if close else " Correct the names, or the separator of a text table."
        raise MissingColumnError(f"{source}: no column {missing}; it has {found}.{hint}", missing)


def require(good: pl.Series, values: pl.Series, column: str, rows: Rows | None, allowed: str) -> None:
    """Refuses the first value that is not good.

    Args:
        good: Boolean per value; null passes.
        values: The values, for the message.
        column: Their raw column.
        rows: Row number of each value, counted from 1 over all rows read; None where it is not known any more.
        allowed: What is allowed and, where it is not obvious, the remedy.

    Raises:
        DataError: Column, row, value and `allowed`.
    """
    if not good.all():
        at = (~good).arg_true()[0]
        row = "" if rows is None else f", row {rows[at]:,}"
        raise DataError(f"Column {column!r}{row}: found {values[at]!r}; allowed is {allowed}.")


def held(values: pl.Series) -> str:
    """What a column of a wrong type holds, for messages: the type, and a value."""
    (value,) = values.drop_nulls().head(1).to_list() or [None]
    return str(values.dtype) if value is None else f"{values.dtype}, such as {repr(value)[:60]}"


def require_float(x: pl.Series, values: pl.Series, column: str, rows: Rows) -> None:
    """Refuses numbers that have no finite form of 32 bits, such as the largest of 64 where it stands for "missing".

    Raises:
        DataError: As `require`.
    """
    if x.dtype.is_float():
        allowed = f"a number that 32 bits hold (up to {LARGEST_FLOAT:.1e}), or null where it is missing"
        require(x.is_between(-LARGEST_FLOAT, LARGEST_FLOAT), values, column, rows, allowed)


def numbers(values: pl.Series, column: str, rows: Rows) -> pl.Series:
    """The values as numbers, missing ones (null, NaN) as null.

    Integers stay integers; so do texts, decimals and integers of 128 bits that are whole and that floats would not tell
    apart, where 64 bits hold them. All others are Float64.

    Raises:
        DataError: Values that are not numbers, or are infinite.
    """
    if values.dtype in (pl.Int128, pl.UInt128):
        return _told_apart(values, values.cast(pl.Float64))
    if values.dtype.is_integer():
        return values
    if values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    if values.dtype in (pl.Boolean, pl.Null):
        return values.cast(pl.Int64)
    if values.dtype == pl.String:
        found = values.cast(pl.Float64, strict=False)
        good = values.is_null() | (values.str.contains(NUMBER) & found.is_not_null())
        require(good, values, column, rows, "a number such as 7, -7.5 or 1e-05, or null where it is missing")
        found = _told_apart(values, found)
    elif isinstance(values.dtype, pl.Decimal) and not values.dtype.scale:
        found = _told_apart(values, values.cast(pl.Float64))
    elif values.dtype.is_numeric():
        found = values.cast(pl.Float64)
    else:
        spans = " with dt.total_seconds()" if values.dtype == pl.Duration else ""
        raise DataError(f"Column {column!r} holds {held(values)}; allowed are numbers. Convert it when reading{spans}.")
    if found.dtype.is_float() and not found.is_between(-_FURTHEST, _FURTHEST).all():  # NaN, or infinite
        found = found.fill_nan(None)
        require(found.is_finite(), values, column, rows, "a finite number, or null where it is missing")
    return found


def _told_apart(values: pl.Series, floats: pl.Series) -> pl.Series:
    """The floats that the values are, or integers where floats would make neighbours one and 64 bits hold all."""
    if not (floats.abs() >= EXACT).any():
        return floats
    integers = values.cast(pl.Int64, strict=False)
    return integers if integers.null_count() == values.null_count() else floats
