"""The one form in which values that name things are compared: a user is the same user as 7, as 7.0 and as "7.0".

Nothing that names one thing may come to name another on the way: what a type cannot hold exactly is refused.

* Integers, booleans and decimals without places are `Int64`; other decimals and floats are `Float64`.
* Texts stay as they are, ``007`` too, which is another name than ``7``; but ``7.0`` is ``7``: that is how pandas and
  others write a column of integers with a gap.
* Texts and numbers are compared where each number is whole: 7 with ``7``, never with ``007``.
* Dates and times stay what they are; texts that spell such are taken for them where a training had them, as JSON knows
  no others.
"""

import polars as pl

from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.values.checks import EXACT, Rows, held, require
from mtlzoo.datamodules.values.time_texts import TIME, spelt_times

_TEXT = (pl.String, pl.Categorical, pl.Enum)
FEW = 32
"""Values up to which Python has looked at each before polars has begun; requests often have one."""
_WHOLE_FLOAT = r"^(-?[1-9][0-9]*|0)\.0$"
_DIGITS: dict[pl.DataType, int] = {pl.Float16(): 11, pl.Float32(): 24, pl.Float64(): 53}
"""Bits of a float's digits: from two to that power on, neighbouring whole numbers are one float."""
_REMEDY = "Write the column as text, or as signed integers, in every file"


def key_type(values: pl.Series, column: str) -> pl.DataType | None:
    """Int64, Float64, String, or a time's own type; None where a chunk has no values to tell from.

    Raises:
        DataError: Lists, structures and the like.
    """
    dtype = values.dtype
    if dtype == pl.Null:
        return None
    if dtype.is_integer() or dtype == pl.Boolean or (isinstance(dtype, pl.Decimal) and not dtype.scale):
        return pl.Int64()
    if dtype.is_float() or dtype.is_decimal():
        return pl.Float64()
    if dtype in _TEXT:
        return pl.String()
    if dtype.is_temporal():
        return dtype
    raise DataError(
        f"Column {column!r} holds {held(values)}; a name is a number, a text or a time. Convert it, to text for "
        "example. Lists are SequenceColumns."
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
    spelt = found == pl.String and _is_day_or_instant(wanted)
    if found is not None and found != wanted and not times and not spelt and not {found, wanted} <= names:
        raise DataError(f"Column {column!r} holds {found}; in the training it held {wanted}. Convert it to that.")


def as_keys(
    values: pl.Series, dtype: pl.DataType, column: str, rows: Rows | None = None, *, names: bool = True
) -> pl.Series:
    """The values in a key type, without loss; NaN becomes null.

    Args:
        values: Of any type that `key_type` knows.
        dtype: A key type.
        column: Their raw column.
        rows: As of `require`.
        names: Whether the values name things. Others, times say, are taken as they are.

    Raises:
        DataError: A value that `dtype` cannot hold, or that may have been another before it became a float.
    """
    return _exactly(_unified(values, column, rows, names=names), dtype, column, rows)


def known_keys(values: pl.Series, dtype: pl.DataType, column: str) -> pl.Series:
    """As `as_keys`, but null for texts that name no number where a table of numbers was learned before: none is known.

    Texts are times where those were learned.

    Raises:
        DataError: As `as_keys`; also the texts ``true`` and ``false``, as the numbers may have been booleans, and texts
            that spell no time with or without a zone, as the training had them.
    """
    values = _unified(values, column, None, names=True)
    if values.dtype == pl.String and _is_day_or_instant(dtype):
        return _exactly(_spelt(values, dtype, column), dtype, column, None)
    if values.dtype != pl.String or dtype == pl.String:
        return _exactly(values, dtype, column, None)
    truths = values.str.to_lowercase().is_in(["true", "false"])
    require(~truths, values, column, None, "true and false as 1 and 0, as the training had numbers. Write them so")
    keys, same = _brought_back(values, dtype)
    return pl.select(pl.when(same).then(keys)).to_series()


def _is_day_or_instant(dtype: pl.DataType) -> bool:
    return dtype == pl.Date or isinstance(dtype, pl.Datetime)


def _spelt(texts: pl.Series, dtype: pl.DataType, column: str) -> pl.Series:
    """Texts as times with the zone of a type, or with none as it has none; the empty text is null."""
    zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
    texts = texts.replace("", None)
    instants, zoned = spelt_times(texts)
    allowed = f"{TIME}, {'with' if zone else 'without'} a zone, as the training held {dtype}"
    require(instants.is_not_null() & (zoned == (zone is not None)) | texts.is_null(), texts, column, None, allowed)
    times = instants.cast(pl.Datetime("ns"))
    return times if zone is None else times.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)


def _unified(values: pl.Series, column: str, rows: Rows | None, *, names: bool) -> pl.Series:
    """The values in one of the key types or, where they are integers, in their own."""
    if values.dtype.is_float():
        return _floats(values, column, rows, names=names)
    if values.dtype in _TEXT:
        values = values.cast(pl.String)
        return _plain(values, column, rows) if names else values
    if isinstance(values.dtype, pl.Decimal) and values.dtype.scale:
        return _exactly(values, pl.Float64(), column, rows)
    return values


def _exactly(values: pl.Series, dtype: pl.DataType, column: str, rows: Rows | None) -> pl.Series:
    """The values in a type from which they can be brought back."""
    if values.dtype == dtype:
        return values
    if dtype == pl.Int64 and values.dtype in (pl.Int8, pl.Int16, pl.Int32):
        return values.cast(dtype)
    keys, same = _brought_back(values, dtype)
    holds = (
        "a whole number of 64 bits, spelt as 7 where it is text" if dtype == pl.Int64 else f"what {dtype} holds exactly"
    )
    allowed = f"{holds}, as in the rows and columns that it is compared with. {_REMEDY}"
    require(same, values, column, rows, allowed)
    return keys


def _brought_back(values: pl.Series, dtype: pl.DataType) -> tuple[pl.Series, pl.Series]:
    """The values in another type, and whether each can be brought back from it; null and the empty text can."""
    if values.dtype == pl.String:
        values = values.replace("", None)
    keys = _cast(values, dtype)
    spelt = values.dtype == pl.Boolean and dtype == pl.String  # texts spell true and false in a dozen ways
    same = values.is_null() if spelt else _cast(keys, values.dtype) == values
    return keys, same.fill_null(value=False) | values.is_null()


def _cast(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    keys = values.cast(dtype, strict=False)
    if not values.dtype.is_float() or dtype != pl.String:
        return keys
    whole = (values == values.floor()) & (values.abs() < EXACT)  # 7, not 7.0
    texts = pl.when(whole).then(values.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(keys)
    return pl.select(texts).to_series()


def _floats(values: pl.Series, column: str, rows: Rows | None, *, names: bool) -> pl.Series:
    values = values.fill_nan(None)
    whole = values == values.floor()
    bits = _DIGITS[values.dtype]
    if names:
        allowed = f"a number below 2^{bits}: beyond, {values.dtype} makes neighbours one. {_REMEDY}"
        require((values.abs() < 2.0**bits) | ~whole, values, column, rows, allowed)
    if values.dtype != pl.Float64 and not whole.all():
        # By the shortest decimal that is this number, so that 0.1 is 0.1 whatever its width.
        values = values.cast(pl.String)
    return values.cast(pl.Float64)


def _plain(texts: pl.Series, column: str, rows: Rows | None) -> pl.Series:
    """Texts with whole numbers spelt without ``.0``."""
    few = len(texts) <= FEW
    if not (any(t and t.endswith(".0") for t in texts.to_list()) if few else texts.str.ends_with(".0").any()):
        return texts
    plain = texts.str.replace(_WHOLE_FLOAT, "${1}")
    told_apart = (plain == texts) | (texts.cast(pl.Float64, strict=False).abs() < EXACT)
    require(told_apart, texts, column, rows, f"a number below 2^53: beyond, floats make neighbours one. {_REMEDY}")
    return plain


class KeyColumn:
    """A raw column of keys; its first chunk that has values decides the type.

    Args:
        name: Raw column.
        names: As of `as_keys`.
    """

    def __init__(self, name: str, *, names: bool = True) -> None:
        self.name = name
        self.names = names
        self.dtype: pl.DataType | None = None

    def check(self, values: pl.Series, rows: Rows) -> pl.Series:
        """The values in the column's type.

        Raises:
            DataError: A change of type that would give one thing two names.
        """
        found = key_type(values, self.name)
        if values.dtype.is_float():
            values = values.fill_nan(None)
        if found is None or not values.count():
            return pl.Series(values.name, [None] * len(values), self.dtype or found or pl.String())
        self.dtype = self.dtype or found
        changed = f"Column {self.name!r} holds {self.dtype} before row {rows[0]:,} and {found} from there on."
        if found != self.dtype and not {found, self.dtype} <= {pl.Int64(), pl.Float64(), pl.String()}:
            raise DataError(f"{changed} Give it one type when reading.")
        try:
            return as_keys(values, self.dtype, self.name, rows, names=self.names)
        except DataError as error:
            if pl.String in (found, self.dtype) and found != self.dtype:
                raise DataError(f"{changed} {error}") from error
            raise
