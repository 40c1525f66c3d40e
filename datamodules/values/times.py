"""Times that compare as they should: parsed once, by instant and never as text."""

from datetime import date
from typing import Any, TypeAlias

import polars as pl
import pyarrow as pa

from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.values.arrow import from_arrow, to_arrow
from mtlzoo.datamodules.values.checks import EXACT, NUMBER, WHOLE, Rows, held, require
from mtlzoo.datamodules.values.keys import KeyColumn

Bound: TypeAlias = str | int | float
_YEAR = "(?:1[7-9][0-9]{2}|2[01][0-9]{2}|22[0-5][0-9])"  # those that nanoseconds since 1970 reach
_DAY = f"{_YEAR}-(?:0?[1-9]|1[0-2])-(?:0?[1-9]|[12][0-9]|3[01])"
_CLOCK = r"(?:[01]?[0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?"
_ZONE = " ?(?:Z|UTC)|[+-](?:0[0-9]|1[0-4])(?::?[0-5][0-9])?"
_TIME = f"^{_DAY}(?:[T ]{_CLOCK}(?:{_ZONE})?)?$"
_PARTS = (
    r"^(?<day>[0-9-]{8,10})(?:[T ](?<hour>[0-9]+):(?<minute>[0-9]+)(?::(?<second>[0-9]+)(?:\.(?<fraction>[0-9]+))?)?"
    r" ?(?<utc>Z|UTC)?(?:(?<sign>[+-])(?<east>[0-9]{2}):?(?<past>[0-9]{2})?)?)?$"
)
_ALLOWED = (
    "a time such as 2022-05-03, 2022-05-03 18:30:00 or 2022-05-03T18:30:00+08:00, on a day that exists and by a clock "
    "from 00:00 to 23:59:59, or a number in every row"
)
_SECOND = 10**9
_UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
_DAYS = "days such as 20220503"
_FIRST, _LAST = 630_000_000, 4_100_000_000
"""Seconds since 1970 of late 1989 and 2099: numbers between are taken for such, times a thousand for milliseconds."""


class TimeColumn:
    """A raw column of times, which may be dates, times, ISO texts or numbers, but one kind of them all through.

    Times become nanoseconds since 1970, in UTC where they have a zone. Numbers stay as they are.

    Args:
        name: Raw column.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.form = ""
        """What the column holds, in words; empty until that is known."""
        self.zone: str | None = None
        """Of a type that has one; texts have offsets instead."""
        self.unit = ""
        """Of numbers that look like times since 1970."""
        self.first = ""
        """The first value, an example of how the column is written."""
        self._numbers = KeyColumn(name, names=False)

    def check(self, values: pl.Series, rows: Rows) -> pl.Series:
        """The values as numbers that compare as the times do.

        Raises:
            DataError: A row without a value, a time that is none, or of another form, zone or unit than those before.
        """
        if values.dtype in (pl.Categorical, pl.Enum, pl.String):
            values = values.cast(pl.String)
            values = values.replace("", None) if (values == "").any() else values
        elif values.dtype.is_float():
            values = values.fill_nan(None)
        allowed = "a value in every row, as the split is by this column"
        require(values.is_not_null(), values, self.name, rows, allowed)
        self.first = self.first or "".join(map(str, values.head(1)))
        if values.dtype == pl.String:
            numeric = self.form == "numbers" if self.form else bool(values.head(1).str.contains(NUMBER).any())
            return self._spelt_numbers(values, rows) if numeric else self._spelt_times(values, rows)
        if values.dtype == pl.Date or isinstance(values.dtype, pl.Datetime):
            return self._typed(values, rows)
        if values.dtype.is_temporal():
            self._hold(f"type {values.dtype}", rows)
            return values.to_physical().cast(pl.Int64)
        if not values.dtype.is_numeric():
            raise DataError(f"Column {self.name!r} holds {held(values)}; allowed are times, dates, texts and numbers.")
        return self._measured(values, values, rows)

    def bound(self, bound: Bound) -> int | float:
        """The bound of a time split as the column's values are; after `check`.

        Raises:
            DataError: A bound of another form, zone or unit than the column.
        """
        form, value = read_bound(bound)
        if form == "times" and self.zone:
            local = pl.Series([value]).cast(pl.Datetime("ns"))
            instant = local.dt.replace_time_zone(self.zone, ambiguous="earliest", non_existent="null").to_physical()[0]
            form, value = ("times with zones", instant) if instant is not None else (f"no time in {self.zone}", 0)
        if form == "numbers" == self.form and self.unit and (unit := _unit(value)) not in ("", self.unit):
            form = f"numbers that are {unit}, where the column has {self.unit}"
        if form != self.form:
            raise DataError(
                f"Column {self.name!r} holds {self.form}; the split's bound {bound!r} is of {form}. Write it as the "
                f"column does, such as {self.first}."
            )
        return value

    def _hold(self, form: str, rows: Rows) -> None:
        if self.form and form != self.form:
            raise DataError(
                f"Column {self.name!r} holds {self.form} before row {rows[0]:,} and {form} from there on. Write all "
                "of it in one way."
            )
        self.form = form

    def _typed(self, values: pl.Series, rows: Rows) -> pl.Series:
        zone = values.dtype.time_zone if isinstance(values.dtype, pl.Datetime) else None
        self._hold("times with zones" if zone else "times", rows)
        self.zone = zone
        require(values.dt.year().is_between(1700, 2259), values, self.name, rows, "a time from 1700 to 2259")
        return values.cast(pl.Datetime("ns", zone)).to_physical()

    def _spelt_times(self, values: pl.Series, rows: Rows) -> pl.Series:
        instants, zoned = spelt_times(values)
        require(instants.is_not_null(), values, self.name, rows, _ALLOWED)
        if zoned.any() and not zoned.all():
            require(zoned == zoned[0], values, self.name, rows, "a zone in every row or in none. Write all in one way")
        self._hold("times with zones" if zoned.any() else "times", rows)
        return instants

    def _spelt_numbers(self, values: pl.Series, rows: Rows) -> pl.Series:
        require(values.str.contains(NUMBER), values, self.name, rows, "a number, as in the rows before")
        numbers = values.cast(pl.Float64, strict=False)
        exact = values.cast(pl.Int64, strict=False) if (numbers.abs() >= EXACT).any() else numbers
        require(exact.is_not_null(), values, self.name, rows, "a number that 64 bits hold exactly")
        return self._measured(exact, values, rows)

    def _measured(self, numbers: pl.Series, values: pl.Series, rows: Rows) -> pl.Series:
        self._hold("numbers", rows)
        for unit in _UNITS:
            of_unit = _is_of(numbers, unit)
            if of_unit.any():
                self.unit = self.unit or unit
                allowed = f"a number in {self.unit} since 1970, as in other rows. Write all of the column in one unit"
                require(~of_unit | (unit == self.unit), values, self.name, rows, allowed)
        return self._numbers.check(numbers, rows)

    def require_days(self, numbers: pl.Series, rows: Rows) -> None:
        """Refuses numbers that are no days such as 20220503.

        Raises:
            DataError: A number that is no day.
        """
        days = numbers.cast(pl.Int64, strict=False).cast(pl.String).str.to_date("%Y%m%d", strict=False)
        require(days.is_not_null(), numbers, self.name, rows, "a day that exists such as 20220503, as the bounds are")


def read_bound(bound: Bound) -> tuple[str, int | float]:
    """What a bound is, ``numbers``, ``times`` or ``times with zones``, and its value: nanoseconds since 1970 of a time.

    Raises:
        DataError: Neither a number nor a time.
    """
    if not isinstance(bound, str):
        return "numbers", bound
    text = pl.Series([bound])
    if text.str.contains(WHOLE)[0]:
        return "numbers", int(bound)
    if text.str.contains(NUMBER)[0]:
        return "numbers", float(bound)
    instants, zoned = spelt_times(text)
    if instants[0] is None:
        raise DataError(f"Bound {bound!r} of a split is no time; allowed is {_ALLOWED}.")
    return "times with zones" if zoned[0] else "times", int(instants[0])


def is_day(bound: Bound) -> bool:
    """Whether a bound is a number that writes a day, such as 20220503."""
    form, value = read_bound(bound)
    return form == "numbers" and _unit(value) == _DAYS


def plain_bound(bound: Any) -> Any:
    """A bound with a date or time, which YAML and Python know, as ISO text."""
    return bound.isoformat() if isinstance(bound, date) else bound


def spelt_times(texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Instants of texts in nanoseconds since 1970, null where one is no time, and whether each has a zone."""
    if (plain := _plain_times(texts)) is not None:
        return plain, pl.repeat(value=False, n=len(texts), eager=True)
    form = "%Y-%m-%dT%H:%M:%S" if texts.head(1).str.contains("T").any() else "%Y-%m-%d %H:%M:%S"
    good = texts.str.contains(_TIME)
    # What many logs write is parsed twice as fast as everything that is allowed.
    instants = texts.str.to_datetime(form, strict=False, time_unit="ns").to_physical()
    rest = good & instants.is_null()
    zoned = pl.repeat(value=False, n=len(texts), eager=True)
    if rest.any():
        coded = to_arrow(texts.filter(rest)).dictionary_encode()
        parsed = _by_parts(from_arrow(coded.dictionary))[from_arrow(coded.indices)]
        at = rest.arg_true()
        instants, zoned = instants.scatter(at, parsed["instant"]), zoned.scatter(at, parsed["zoned"])
    return pl.select(pl.when(good).then(instants)).to_series(), zoned


def _plain_times(texts: pl.Series) -> pl.Series | None:
    """Instants where all texts are such as ``2022-05-03 18:30:00``, in a fifth of the time that others take.

    Of the texts of that length, Arrow takes but these, with ``T`` too, and only those that exist.
    """
    lengths = texts.str.len_bytes()
    if not lengths.min() == lengths.max() == len("2022-05-03 18:30:00"):
        return None
    try:
        instants = from_arrow(to_arrow(texts).cast(pa.timestamp("ns")))
    except pa.ArrowInvalid:
        return None
    return instants.to_physical() if instants.dt.year().is_between(1700, 2259).all() else None


def _by_parts(texts: pl.Series) -> pl.DataFrame:
    parts = texts.str.extract_groups(_PARTS).struct.unnest()
    numbers = [pl.col(name).cast(pl.Int64).fill_null(0) for name in ("hour", "minute", "second", "east", "past")]
    fraction = pl.col("fraction").fill_null("").str.pad_end(9, "0").cast(pl.Int64)
    parts = parts.with_columns(pl.col("day").str.to_date("%Y-%m-%d", strict=False), fraction, *numbers)
    east = (pl.col("east") * 60 + pl.col("past")) * pl.when(pl.col("sign") == "-").then(-60).otherwise(60)
    seconds = pl.col("hour") * 3600 + pl.col("minute") * 60 + pl.col("second") - east
    midnight = pl.col("day").cast(pl.Datetime("ns")).to_physical()
    zoned = pl.col("utc").is_not_null() | pl.col("sign").is_not_null()
    return parts.select(instant=midnight + seconds * _SECOND + pl.col("fraction"), zoned=zoned)


def _is_of(numbers: pl.Series, unit: str) -> pl.Series:
    return numbers.is_between(_FIRST * _UNITS[unit], _LAST * _UNITS[unit])


def _unit(number: float) -> str:
    """What a number looks like as a time, where it looks like one."""
    days = pl.Series([str(int(number))]).str.to_date("%Y%m%d", strict=False)
    if number == int(number) and days.dt.year().is_between(1900, 2100)[0]:
        return _DAYS
    return next((unit for unit in _UNITS if _is_of(pl.Series([number]), unit)[0]), "")
