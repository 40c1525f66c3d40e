"""What the columns of a publisher's file may hold: all else is damage, and refused with its line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, TypeAlias

import polars as pl

from mtlzoo.datamodules.values.checks import EXACT, LARGEST_FLOAT

DataType: TypeAlias = pl.DataType | type[pl.DataType]
HIGHEST_ID = 2**31 - 1
"""No publisher's numbers of users and items reach it; higher ones are damage."""
EARLIEST, LATEST = 788_918_400, 2**31 - 1
"""Seconds since 1970: 1995, before which no log of recommendations begins, to 2038."""


@dataclass(frozen=True)
class Domain:
    """The values of a column.

    Args:
        allowed: They in words, for messages.
        good: Whether each value is one of them; missing ones are not asked for. None where all are.
        read: Type that the text is parsed as.
        dtype: Type that the values are given in, which holds all good ones; `read` if None.
        missing: Whether a row may lack a value.
        ends: Lowest and highest between which all are good, so that a look at the column's own may do.
    """

    allowed: str
    good: Callable[[pl.Series], pl.Series] | None
    read: DataType = pl.Int64
    dtype: DataType | None = None
    missing: bool = False
    ends: tuple[float, float] | None = None

    def first_bad(self, values: pl.Series) -> int | None:
        """Place of a value that is not allowed, if there is one."""
        if values.null_count() and not self.missing:
            return int(values.is_null().arg_true()[0])
        if self.good is None or (self.ends and _lies_between(values, *self.ends)):
            return None
        good = self.good(values)
        return None if good.all() else int((~good).arg_true()[0])


def _lies_between(values: pl.Series, low: float, high: float) -> bool:
    """Whether all values do, as far as lowest and highest tell; NaN does not."""
    ends: tuple[Any, Any] = (
        (values.nan_min(), values.nan_max()) if values.dtype.is_float() else (values.min(), values.max())
    )
    return ends[0] is not None and bool(low <= ends[0] and ends[1] <= high)


def whole(
    low: int = 0,
    high: int | None = None,
    *,
    unknown: Sequence[int] = (),
    missing: bool = False,
    points: bool = False,
) -> Domain:
    """Whole numbers: ids, codes, counts, times.

    Args:
        low: The lowest.
        high: The highest; None: the highest that is exact.
        unknown: Numbers besides, with which the publisher says that something is not known.
        missing: Whether a row may lack a value.
        points: Whether they may be written as ``1.0`` too.
    """
    allowed = f"a whole number from {low:,} {'on' if high is None else f'to {high:,}'}"
    allowed += "".join(f", {number}" for number in unknown) + (", or nothing" if missing else "")
    others = [float(number) if points else number for number in unknown]
    most = high if high is not None else EXACT - 1 if points else 2**63 - 1

    def good(values: pl.Series) -> pl.Series:
        inside = values.is_between(low, most)
        if unknown:
            inside |= values.is_in(others)
        return inside & (values == values.floor()) if points else inside

    ends = None if points else (low, most)
    return Domain(allowed, good, pl.Float64 if points else pl.Int64, pl.Int64, missing, ends)


def flag(*, missing: bool = False, points: bool = False) -> Domain:
    """0 or 1; arguments as for `whole`."""
    return Domain(
        "0, 1 or nothing" if missing else "0 or 1",
        lambda values: (values == 0) | (values == 1),
        pl.Float64 if points else pl.Int8,
        pl.Int8,
        missing,
        None if points else (0, 1),
    )


def day(first: date, last: date, *, missing: bool = False, points: bool = False) -> Domain:
    """Days that exist, written as yyyymmdd."""
    # Not by polars: it would start its threads while modules are imported, and a process forked later would hang.
    every = (first + timedelta(place) for place in range((last - first).days + 1))
    days = [int(one.strftime("%Y%m%d")) for one in every]
    among = list(map(float, days)) if points else days
    allowed = f"a day from {days[0]} to {days[-1]}" + (", or nothing" if missing else "")
    return Domain(allowed, lambda values: values.is_in(among), pl.Float64 if points else pl.Int64, pl.Int64, missing)


def seconds(*, per_second: int = 1, missing: bool = False) -> Domain:
    """Times since 1970, in seconds or parts of them: those of another unit lie outside."""
    low, high = EARLIEST * per_second, (LATEST + 1) * per_second - 1
    unit = {1: "seconds", 1000: "milliseconds"}[per_second]
    allowed = f"a time from 1995 to 2037 in {unit} since 1970" + (", or nothing" if missing else "")
    return Domain(allowed, lambda values: values.is_between(low, high), missing=missing, ends=(low, high))


def stars(*, half: bool = False) -> Domain:
    """1 to 5 stars; with `half` also half ones, from 0.5 on."""
    step = 0.5 if half else 1.0
    allowed = "0.5 to 5 in half stars" if half else "1 to 5 in whole stars"
    steps = [step * count for count in range(1, 11 if half else 6)]
    return Domain(allowed, lambda values: values.is_in(steps), pl.Float64)


def id_text() -> Domain:
    """Ids in text."""
    allowed = "an id: letters, digits and signs, without blanks, commas or quotes"
    return text(r"[!#-+\--~]+", allowed)


def number(
    low: float = -LARGEST_FLOAT, high: float = LARGEST_FLOAT, *, missing: bool = False, dtype: DataType = pl.Float64
) -> Domain:
    """Finite numbers; NaN is none."""
    ends = (f" from {low:g}" if low > -LARGEST_FLOAT else "") + (f" to {high:g}" if high < LARGEST_FLOAT else "")
    allowed = f"a finite number{ends}" + (", or nothing" if missing else "")
    return Domain(allowed, lambda values: values.is_between(low, high), pl.Float64, dtype, missing, (low, high))


def text(pattern: str = "", allowed: str = "a text", *, missing: bool = False) -> Domain:
    """Texts that match a regular expression as a whole, or any."""
    whole_text = f"^(?:{pattern})$"
    good = (lambda values: values.str.contains(whole_text)) if pattern else None
    return Domain(allowed + (", or nothing" if missing else ""), good, pl.String, None, missing)


def one_of(texts: Sequence[str], *, missing: bool = False) -> Domain:
    """These texts."""
    among = list(texts)
    return Domain(
        f"one of {among}" + (", or nothing" if missing else ""),
        lambda values: values.is_in(among),
        pl.String,
        None,
        missing,
    )
