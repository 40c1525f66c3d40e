"""Times: what is the same instant however it is written, and what is refused."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mtlzoo.datamodules import DataError, TabularDataModule
from mtlzoo.datamodules.columns import TimeSplit
from mtlzoo.datamodules.values.time_texts import spelt_times
from mtlzoo.datamodules.values.times import TimeColumn

NINE = datetime(2022, 5, 3, 9, 5)
NS = 10**9


def nanoseconds(time: datetime) -> int:
    since = time.replace(tzinfo=None) - datetime(1970, 1, 1)
    return (since.days * 86400 + since.seconds) * NS + since.microseconds * 1000


@pytest.mark.parametrize("beside", ["2022-05-03 10:00:00", "2022-05-03T10:00:00", "2022-05-03", "nothing"])
@pytest.mark.parametrize(
    ("text", "time", "zone"),
    [
        ("2022-05-03", datetime(2022, 5, 3), False),
        ("2022-5-3", datetime(2022, 5, 3), False),
        ("2024-02-29", datetime(2024, 2, 29), False),
        ("2022-05-03 9:05", NINE, False),
        ("2022-05-03 09:05", NINE, False),
        ("2022-05-03T09:05", NINE, False),
        ("2022-05-03 9:05:00", NINE, False),
        ("2022-05-03T09:05:00", NINE, False),
        ("2022-5-3 9:05:00", NINE, False),
        ("2022-05-03 09:05:00.0", NINE, False),
        ("2022-05-03 09:05:00.000000000", NINE, False),
        ("2022-05-03 09:05:00.25", NINE + timedelta(seconds=0.25), False),
        ("1969-12-31 23:59:59.5", datetime(1969, 12, 31, 23, 59, 59, 500000), False),
        ("2022-05-03T09:05:00Z", NINE, True),
        ("2022-05-03 09:05:00 UTC", NINE, True),
        ("2022-05-03 09:05:00+00", NINE, True),
        ("2022-05-03T17:05:00+08:00", NINE, True),
        ("2022-05-03T17:05:00+0800", NINE, True),
        ("2022-05-03 17:05+08", NINE, True),
        ("2022-05-03T05:35:00-03:30", NINE, True),
    ],
)
def test_one_instant_however_it_is_written(text: str, time: datetime, zone: bool, beside: str) -> None:
    instants, zoned = spelt_times(pl.Series([beside, text, text]))
    assert instants[1] == instants[2] == nanoseconds(time)
    assert zoned[1] == zone


NO_TIMES = [
    *("2022-05-32", "2022-13-01", "2022-02-29", "2022-04-31 10:00:00", "2022-00-10", "0022-05-03", "9999-12-31"),
    *("2022-05-03 24:00:00", "2022-05-03 24:00", "2022-05-03 10:60", "2022-05-03 10:00:60", "2022-05-03 1:2:3"),
    *("2022-05-03 02:00:00 PM", "2022-05-03 2:00 pm", "2022-05-03 10", "2022-05", "05/03/2022", "2022/05/03"),
    *("03.05.2022", "2022-05-03 10:00:00.", "2022-05-03 10:00:00,5", "2022-05-03  10:00:00", " 2022-05-03"),
    *("2022-05-03 ", "2022-05-03T", "22-05-03", "2022-05-03T10:00:00+8", "2022-05-03T10:00:00 CEST", "2022-05-03Z"),
    *("2022-05-03T10:00:00+08:60", "2022-05-03T10:00:00+15:00", "\uff12022-05-03", "NaT", "nan", ""),
]


@pytest.mark.parametrize("wrong", NO_TIMES)
@pytest.mark.parametrize("good", ["2022-05-03 10:00:00", "2022-05-03"])
def test_what_is_no_time_is_refused_with_its_row(wrong: str, good: str) -> None:
    column = TimeColumn("t")
    column.check(pl.Series([good]), range(1, 2))
    with pytest.raises(DataError, match=r"Column 't', row 3: found .*; allowed is a (time|value)"):
        column.check(pl.Series([good, wrong]), range(2, 4))
    with pytest.raises(ValueError, match="is no time; allowed is a time such as 2022-05-03"):
        TimeSplit("t", val=wrong, test="2022-05-04")


def tabled(folder: Path, times: list[Any], split: dict[str, Any], suffix: str = ".csv") -> dict[str, list[int]]:
    frame = pl.DataFrame({"u": "u", "y": range(len(times)), "t": times})
    frame.write_csv(folder / "a.csv") if suffix == ".csv" else frame.write_parquet(folder / "a.parquet")
    data = TabularDataModule(
        folder,
        train=f"a{suffix}",
        prepared=folder / "p",
        features={"u": "categorical"},
        labels={"y": {"kind": "regression", "standardize": False}},
        split=split,
    )
    return {part: data.data[part]["labels"].flatten().int().tolist() for part in ("train", "val", "test")}


def by_time(val: Any, test: Any) -> dict[str, Any]:
    return {"kind": "time", "column": "t", "val": val, "test": test}


BY_USER = {"kind": "user", "user": "u", "order": "t", "val": 0.25, "test": 0.25}
DAYS = ["2022-05-02", "2022-05-03", "2022-05-04", "2022-05-05"]
SECONDS = [1651449600, 1651536000, 1651622400, 1651708800]
FIRST_TWO, FIRST = ([0, 1], [2], [3]), ([0], [1], [2, 3])


@pytest.mark.filterwarnings(
    "ignore:TabularDataModule. the (label 'y'|feature 'u'):mtlzoo.datamodules.errors.DataWarning"
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("times", "split", "expected"),
    [
        ([f"2022-05-03 {hour}:00:00" for hour in (8, 9, 10, 11)], BY_USER, FIRST_TWO),
        (["9", "10", "11", "100"], BY_USER, FIRST_TWO),
        (["1.5", "10", "11", "100"], BY_USER, FIRST_TWO),
        ([1651500000000000001 + i for i in (1, 0, 3, 2)], BY_USER, ([0, 1], [3], [2])),
        (
            ["2022-05-02 9:05:00", "2022-05-03 9:05:00", "2022-05-03 11:00:00", "2022-05-03 19:00:00"],
            by_time("2022-05-03 10:00:00", "2022-05-03 18:00:00"),
            FIRST_TWO,
        ),
        (DAYS, by_time("2022-05-03 00:00:00", "2022-05-04T00:00"), FIRST),
        (DAYS, by_time(date(2022, 5, 3), datetime(2022, 5, 4)), FIRST),
        (
            ["2022-05-02 10:00", "2022-05-03 10:00", "2022-05-03 18:30", "2022-05-03 18:31"],
            by_time("2022-05-03", "2022-05-03 18:30:00"),
            FIRST,
        ),
        (
            ["2022-05-02 10:00:00.999", "2022-05-03", "2022-05-03 10:00:00.25", "2022-05-03 10:00:00.5"],
            by_time("2022-05-03", "2022-05-03 10:00:00.3"),
            ([0], [1, 2], [3]),
        ),
        (
            ["2022-05-01T00:00:00Z", "2022-05-03T00:30:00+08:00", "2022-05-03T00:00:00Z", "2022-05-04 00:00:00+00"],
            by_time("2022-05-03T00:00:00Z", "2022-05-04 08:00+08"),
            FIRST_TWO,
        ),
        (SECONDS, by_time(1651536000, "1651622400"), FIRST),
        ([time + 0.5 for time in SECONDS], by_time(1651536000.25, 1651622400.75), ([0], [1, 2], [3])),
        ([time * NS + 1 for time in SECONDS], by_time(1651536000 * NS + 1, 1651622400 * NS + 1), FIRST),
        ([20220502, 20220503, 20220504, 20220505], by_time(20220503, 20220504), FIRST),
        ([1, 2, 3, 700_000_000], by_time(2, 3), FIRST),
    ],
)
def test_rows_fall_by_instant(times: list[Any], split: Any, expected: Any, suffix: str, tmp_path: Path) -> None:
    assert tabled(tmp_path, times, split, suffix) == dict(zip(("train", "val", "test"), expected, strict=True))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("times", "split", "message"),
    [
        ([*DAYS[:3], "2022-13-01"], by_time(*DAYS[1:3]), "row 4: found '2022-13-01'"),
        ([*DAYS[:3], "2022-05-04T00:00:00Z"], by_time(*DAYS[1:3]), "row 4.*a zone in every row or in none"),
        ([*DAYS[:3], "20220505"], by_time(*DAYS[1:3]), "row 4: found '20220505'"),
        (DAYS, by_time("2022-05-03T00:00Z", "2022-05-04T00:00Z"), "holds times; .* is of times with zones"),
        (["2022-05-01T00:00:00Z"] * 4, by_time(*DAYS[1:3]), "holds times with zones; .* is of times"),
        (DAYS, by_time(1651536000, 1651622400), "holds times; .* is of numbers"),
        (SECONDS, by_time(*DAYS[1:3]), "holds numbers; .* is of times"),
        ([*SECONDS[:2], 1651622400000], by_time(*SECONDS[1:3]), "row 3: .*; allowed is a number in seconds since 1970"),
        ([*SECONDS[:2], 1651622400000], BY_USER, "row 3: .*; allowed is a number in seconds since 1970"),
        ([1651449600 * 10**6, 1651449600 * NS], BY_USER, "row 2: .* in microseconds"),
        ([1651449600.0, 1651449600e3], BY_USER, "row 2: .* in seconds"),
        (SECONDS, by_time(1651536000000, 1651622400000), "milliseconds, where the column has seconds"),
        ([1651449600000] * 4, by_time(*SECONDS[1:3]), "seconds, where the column has milliseconds"),
        (SECONDS, by_time(20220503, 20220504), "days such as 20220503, where the column has seconds"),
        ([20220502, 20220503, 20220532], by_time(20220503, 20220601), "row 3: .*; allowed is a day that exists"),
        ([20220502, 1651449600], by_time(20220503, 20220601), "days such as 20220503, where the column has seconds"),
        ([1, None, 2, 3], by_time(2, 3), "row 2: found None; allowed is a value in every row"),
        ([*DAYS[:3], None], BY_USER, "row 4: found None; allowed is a value in every row"),
        ([True, False, True], BY_USER, "found 'true'; allowed is a time|holds Boolean"),
    ],
)
def test_times_that_do_not_go_together(times: list[Any], split: Any, message: str, suffix: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        tabled(tmp_path, times, split, suffix)


@pytest.mark.parametrize(
    ("first", "second"),
    [("2022-05-03", "5"), ("5", "2022-05-03"), ("2022-05-03", "2022-05-03T00:00Z"), ("1651449600", "1651449600000")],
)
def test_later_chunks_hold_what_the_first_holds(first: str, second: str) -> None:
    column = TimeColumn("t")
    column.check(pl.Series([first]), range(1, 2))
    with pytest.raises(DataError, match=r"Column 't'(, row 2: found| holds .* before row 2)"):
        column.check(pl.Series([second]), range(2, 3))


@pytest.mark.parametrize("wrong", [("2022-05-04", "2022-05-03"), ("2022-05-03", 3), (DAYS[0], "2022-05-04T00:00Z")])
def test_bounds_that_contradict_each_other(wrong: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match=r"val must not come after test|Write both as the column does"):
        TimeSplit("t", *wrong)


def test_a_time_that_a_zone_skips_is_no_bound() -> None:
    column = TimeColumn("t")
    times = pl.Series([datetime(2022, 3, 27)]).dt.replace_time_zone("Europe/Berlin")
    assert column.check(times, range(1, 2)).to_list() == [nanoseconds(datetime(2022, 3, 26, 23))]
    assert column.bound("2022-03-27 03:00") == nanoseconds(datetime(2022, 3, 27, 1))
    assert column.bound("2022-03-27T01:00Z") == nanoseconds(datetime(2022, 3, 27, 1))
    with pytest.raises(DataError, match="is of no time in Europe/Berlin"):
        column.bound("2022-03-27 02:30")


def test_dates_of_a_schema_file_are_times(tmp_path: Path) -> None:
    (tmp_path / "schema.yaml").write_text(
        "split: {kind: time, column: t, val: 2022-05-03, test: 2022-05-04 10:00:00+08:00}"
    )
    with pytest.raises(ValueError, match="one bound is of times, one of times with zones"):
        TabularDataModule(
            tmp_path, schema_file="schema.yaml", train="a.csv", features={"u": "numeric"}, labels={"y": "binary"}
        )


@pytest.mark.parametrize(
    "text",
    [
        *("2022-05-03 18:30:00", "1969-12-31T23:59:59", "1700-01-01 00:00:00", "2259-12-31 23:59:59"),
        *("2022-02-30 00:00:00", "2022-05-03 24:00:00", "2022-05-03 23:59:60", "1699-12-31 23:59:59"),
        *("2260-01-01 00:00:00", "1600-01-01 00:00:00", "2022-05-03 18+08:00", "2022-05-03 18:30:0Z"),
        *("2022-05-03 183000   ", "2022-5-03 18:30:00.", "2022/05/03 18:30:00", "2022-05-03t18:30:00", None),
    ],
)
def test_a_text_is_the_same_time_alone_and_among_others(text: str | None) -> None:
    alone, zoned = spelt_times(pl.Series([text], dtype=pl.String))
    among, zoned_among = spelt_times(pl.Series([text, "2022-5-3"]))
    assert (alone[0], zoned[0]) == (among[0], zoned_among[0])


def test_numbers_that_floats_would_make_one_are_told_apart() -> None:
    texts = [str(2**53 + 1), str(2**53), "7"]
    assert TimeColumn("t").check(pl.Series(texts), range(1, 4)).to_list() == [2**53 + 1, 2**53, 7]
