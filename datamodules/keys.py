"""The one form in which values that name things are compared: a user is the same user as 7 and as 7.0."""

import polars as pl

from mtlzoo.datamodules.checks import WHOLE, Rows, require
from mtlzoo.datamodules.errors import DataError


def key_type(dtype: pl.DataType, column: str) -> pl.DataType | None:
    """Int64, Float64, String, or a time's own type; None where a chunk has no values to tell from.

    Raises:
        DataError: Lists, structures and the like.
    """
    if dtype == pl.Null:
        return None
    if dtype.is_integer() or dtype == pl.Boolean:
        return pl.Int64()
    if dtype.is_float() or dtype.is_decimal():
        return pl.Float64()
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return pl.String()
    if dtype.is_temporal():
        return dtype
    raise DataError(
        f"Column {column!r} holds {dtype}; a name is a number, a text or a time. Lists are SequenceColumns."
    )


def common_type(one: pl.DataType | None, other: pl.DataType | None, column: str) -> pl.DataType | None:
    """Type in which values of both types are compared: integers where one of them is.

    Raises:
        DataError: Types that have nothing in common.
    """
    if one is None or other is None or one == other:
        return one or other
    if pl.Int64 in (one, other) and {one, other} <= {pl.Int64(), pl.Float64(), pl.String()}:
        return pl.Int64()
    raise DataError(f"Column {column!r} holds {other} where {one} came before. Give it one type when reading.")


def comparable(found: pl.DataType | None, wanted: pl.DataType, column: str) -> None:
    """Refuses a column that a fitted vocabulary cannot be asked for.

    Raises:
        DataError: Times where there were names, or the other way round.
    """
    names: set[pl.DataType | None] = {pl.Int64(), pl.Float64(), pl.String()}
    zones = [getattr(dtype, "time_zone", "") for dtype in (found, wanted)]
    times = isinstance(found, pl.Datetime) and isinstance(wanted, pl.Datetime) and zones[0] == zones[1]
    if found is not None and found != wanted and not times and not {found, wanted} <= names:
        raise DataError(f"Column {column!r} holds {found}; in the training it held {wanted}. Convert it to that.")


def as_keys(values: pl.Series, dtype: pl.DataType, column: str, rows: Rows | None = None) -> pl.Series:
    """The values in a key type, without loss; NaN becomes null.

    Raises:
        DataError: A value that `dtype` cannot hold.
    """
    if values.dtype.is_float():
        values = values.fill_nan(None)
    if values.dtype == dtype:
        return values
    if values.dtype.is_signed_integer() and dtype == pl.Int64:
        return values.cast(dtype)
    if values.dtype == pl.String:
        values = values.replace("", None)
    keys = _texts(values) if values.dtype.is_float() and dtype == pl.String else values.cast(dtype, strict=False)
    same = keys.is_not_null() | values.is_null()
    if values.dtype == pl.String and dtype == pl.Int64:
        same &= values.str.contains(WHOLE)
    if values.dtype.is_float() and dtype == pl.Int64:
        same &= (keys.cast(pl.Float64) == values).fill_null(True)
    require(same, values, column, rows, f"{dtype}, as in the rows and columns that it is compared with")
    return keys


def _texts(values: pl.Series) -> pl.Series:
    """Numbers as they are written where nothing is missing: 7, not 7.0."""
    whole = (values == values.floor()) & (values.abs() < 2**53)
    texts = pl.when(whole).then(values.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(values.cast(pl.String))
    return pl.select(texts).to_series()


class KeyColumn:
    """A raw column of keys; its first chunk that has values decides the type.

    Args:
        name: Raw column.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.dtype: pl.DataType | None = None

    def check(self, values: pl.Series, rows: Rows) -> pl.Series:
        """The values in the column's type.

        Raises:
            DataError: A change of type that would give one thing two names.
        """
        found = key_type(values.dtype, self.name)
        if found is None or not values.count():
            return values.cast(self.dtype or found or pl.String())
        self.dtype = self.dtype or found
        if found != self.dtype and {found, self.dtype} != {pl.Int64(), pl.Float64()}:
            raise DataError(
                f"Column {self.name!r} holds {self.dtype} before row {rows[0]:,} and {found} from there on. "
                "Give it one type when reading."
            )
        return as_keys(values, self.dtype, self.name, rows)
