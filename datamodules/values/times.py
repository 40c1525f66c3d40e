"""Times that compare as they should: parsed once, by instant and never as text."""

from datetime import date
from typing import Any, TypeAlias

import polars as pl

from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.values.checks import EXACT, NUMBER, WHOLE, Rows, held, require
from mtlzoo.datamodules.values.keys import KeyColumn
from mtlzoo.datamodules.values.time_texts import TIME, spelt_times

Bound: TypeAlias = str | int | float
_ALLOWED = f"{TIME}, or a number in every row"
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


def _is_of(numbers: pl.Series, unit: str) -> pl.Series:
    return numbers.is_between(_FIRST * _UNITS[unit], _LAST * _UNITS[unit])


def _unit(number: float) -> str:
    """What a number looks like as a time, where it looks like one."""
    days = pl.Series([str(int(number))]).str.to_date("%Y%m%d", strict=False)
    if number == int(number) and days.dt.year().is_between(1900, 2100)[0]:
        return _DAYS
    return next((unit for unit in _UNITS if _is_of(pl.Series([number]), unit)[0]), "")
