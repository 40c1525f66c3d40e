"""Splits: against plain Python, whatever the chunks."""

import itertools
import math
from collections import defaultdict
from datetime import date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from mtlzoo.datamodules.columns import GivenSplit, RandomSplit, Split, TimeSplit, UserSplit
from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.prepare.splitting import splitter

_folders = itertools.count()


def split_of(declared: Split, frame: pl.DataFrame, folder: Path, chunk: int = 1000) -> list[str]:
    parts = splitter(declared, folder / f"split{next(_folders)}")
    for start in range(0, len(frame), chunk):
        part = frame[start : start + chunk]
        parts.add(part, range(start + 1, start + len(part) + 1))
    parts.finish()
    codes = np.concatenate([parts.codes(range(i + 1, min(i + 7, len(frame)) + 1)) for i in range(0, len(frame), 7)])
    return [parts.names[code] for code in codes]


@pytest.mark.parametrize(
    ("values", "val", "test"),
    [
        ([20220502, 20220503, 20220504, 20220505], 20220503, 20220505),
        ([20220502, 20220503, 20220504, 20220505], "20220503", "20220505"),
        ([0.5, 1.0, 1.4, 1.5], 1, 1.5),
        (["2022-05-02 23:59:59.9", "2022-05-03T00:00:00", "2022-05-04", "2022-05-05"], "2022-05-03", "2022-05-05"),
        (
            ["2022-05-02", "2022-05-03 12:00:00", "2022-05-03 12:00:01", "2022-05-05"],
            "2022-05-03T12:00:00",
            "2022-05-05",
        ),
        ([date(2022, 5, 2), date(2022, 5, 3), date(2022, 5, 4), date(2022, 5, 5)], "2022-05-03", "2022-05-05"),
        (
            [datetime(2022, 5, 2, 23), datetime(2022, 5, 3), datetime(2022, 5, 4), datetime(2022, 5, 5)],
            "2022-05-03",
            "2022-05-05",
        ),
    ],
)
@pytest.mark.parametrize("chunk", [1, 4])
def test_time_bounds_are_inclusive(values: list[Any], val: Any, test: Any, chunk: int, tmp_path: Path) -> None:
    frame = pl.DataFrame({"t": values})
    assert split_of(TimeSplit("t", val, test), frame, tmp_path, chunk) == ["train", "val", "val", "test"]


def test_time_with_a_zone_is_compared_in_its_own_zone(tmp_path: Path) -> None:
    utc = pl.Series("t", [datetime(2022, 5, 2, 15, 59), datetime(2022, 5, 2, 16, 0)]).dt.replace_time_zone("UTC")
    frame = utc.dt.convert_time_zone("Asia/Shanghai").to_frame()  # 23:59 and 00:00 of the next day
    assert split_of(TimeSplit("t", "2022-05-03", "2022-05-05"), frame, tmp_path) == ["train", "val"]


@pytest.mark.parametrize(
    ("values", "val", "message"),
    [
        (
            [20220501, 20220502],
            "2022-05-01",
            r"Column 't' holds numbers; .*'2022-05-01' is of times. Write it as the column",
        ),
        ([1651363200000], "2022-05-01", r"is of times. Write it as the column does, such as 1651363200000\."),
        ([1651363200000], 1651363200, r"where the column has milliseconds. .* such as 1651363200000\."),
        ([20220501], "2022-05-01", r"such as 20220501\."),
        (
            ["2022-05-01", "05/02/2022"],
            "2022-05-01",
            r"Column 't', row 2: found '05/02/2022'; allowed is a time such as",
        ),
        (
            [date(2022, 5, 1)],
            20220501,
            r"Column 't' holds times; the split's bound 20220501 is of numbers. Write it .* such as 2022-05-01",
        ),
        (["2022-05-01"], 20220501, r"Column 't' holds times; .*20220501 is of numbers"),
        (["2022-05-01"], "2022-05-01T00:00:00+08:00", r"Column 't' holds times; .* is of times with zones"),
        ([date(2022, 5, 1)], "2022-05-01T00:00:00Z", r"Column 't' holds times; .* is of times with zones"),
        ([1, None], 1, r"Column 't', row 2: found None; allowed is a value in every row"),
        ([1.0, float("nan")], 1, r"Column 't', row 2: found None; allowed is a value in every row"),
    ],
)
def test_times_that_cannot_be_compared(values: list[Any], val: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        split_of(TimeSplit("t", val, val), pl.DataFrame({"t": values}), tmp_path)


def test_declarations_that_make_no_sense(tmp_path: Path) -> None:
    frame = pl.DataFrame({"t": [1]})
    with pytest.raises(ValueError, match="val must not come after test"):
        split_of(TimeSplit("t", 3, 2), frame, tmp_path)


def test_random_rows_do_not_depend_on_chunks(tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": np.arange(20_000)})
    splits = split_of(RandomSplit(0.2, 0.1, seed=3), frame, tmp_path)
    assert splits == split_of(RandomSplit(0.2, 0.1, seed=3), frame, tmp_path, chunk=777)
    assert abs(splits.count("val") / 20_000 - 0.2) < 0.01
    assert abs(splits.count("test") / 20_000 - 0.1) < 0.01
    other = split_of(RandomSplit(0.2, 0.1, seed=4), frame, tmp_path)
    agreeing = sum(a == b for a, b in zip(splits, other, strict=True)) / 20_000
    assert abs(agreeing - (0.7**2 + 0.2**2 + 0.1**2)) < 0.02  # two seeds are independent
    assert set(split_of(RandomSplit(0, 0), frame, tmp_path)) == {"train"}


def reference_user_split(users: list[Any], order: list[Any], val: float, test: float, up: bool) -> list[str]:
    rows = defaultdict(list)
    for row in sorted(range(len(users)), key=lambda row: (order[row], row)):
        rows[users[row]].append(row)
    splits = [""] * len(users)
    for mine in rows.values():
        exact = [Fraction(str(part)) * len(mine) for part in (test, round(val + test, 9))]
        tested, held_out = (math.ceil(part) if up else math.floor(part) for part in exact)
        for place, row in enumerate(mine):
            left = len(mine) - 1 - place
            splits[row] = "test" if left < tested else "val" if left < held_out else "train"
    return splits


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize(("val", "test"), [(0.1, 0.1), (0.29, 0.01), (0.0, 0.5)])
@pytest.mark.parametrize("rounding", ["down", "up"])
def test_users_in_order_wherever_their_rows_are(
    text: bool, ordered: bool, val: float, test: float, rounding: Any, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    users = (random.pareto(1, 5000) * 3).astype(int) % 97
    times = random.integers(0, 500, 5000)  # with ties: the files decide
    names = [f"user{user}" for user in users] if text else users.tolist()
    frame = pl.DataFrame({"user": names, "time": times})
    order = times.tolist() if ordered else list(range(5000))
    expected = reference_user_split(names, order, val, test, up=rounding == "up")
    declared = UserSplit("user", "time" if ordered else "", val, test, rounding)
    for chunk in (5000, 333):
        assert split_of(declared, frame, tmp_path, chunk) == expected


def test_rounding_decides_who_gets_a_users_odd_rows(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": [1] * 9 + [2]})
    down, up = (split_of(UserSplit("user", rounding=rounding), frame, tmp_path) for rounding in ("down", "up"))
    assert down == ["train"] * 8 + ["val", "train"]
    assert up == ["train"] * 7 + ["val", "test", "test"]
    with pytest.raises(ValueError, match="rounding='even'; allowed are 'down', 'up'"):
        split_of(UserSplit("user", rounding="even"), frame, tmp_path)  # type: ignore[arg-type]  # as from YAML


def test_the_rows_of_a_user_in_an_order_that_is_drawn(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": np.random.default_rng(0).permutation(np.repeat(np.arange(400), 10))})
    declared = UserSplit("user", val=0.2, test=0.2, seed=3)
    splits = split_of(declared, frame, tmp_path)
    assert splits == split_of(declared, frame, tmp_path, chunk=333)
    counts = frame.with_columns(split=pl.Series(splits)).group_by("user").agg(pl.col("split").sort())
    assert counts["split"].unique().to_list() == [["test"] * 2 + ["train"] * 6 + ["val"] * 2]
    # Every place in the files is as likely in test as any other.
    place = frame.select(place=pl.int_range(pl.len()).over("user"))["place"].to_numpy()
    assert np.bincount(place[np.asarray(splits) == "test"], minlength=10).min() > 50
    other = split_of(UserSplit("user", val=0.2, test=0.2, seed=4), frame, tmp_path)
    agreeing = sum(a == b for a, b in zip(splits, other, strict=True)) / len(frame)
    assert abs(agreeing - (0.6**2 + 0.2**2 + 0.2**2)) < 0.03  # two seeds are independent
    with pytest.raises(ValueError, match="either in the order of a column or in one that seed draws"):
        split_of(UserSplit("user", "user", seed=0), frame, tmp_path)


def test_users_without_a_name_or_time(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Column 'user', row 2: found None"):
        split_of(UserSplit("user"), pl.DataFrame({"user": ["a", None]}), tmp_path)
    with pytest.raises(DataError, match=r"Column 'time', row 1: found None"):
        split_of(UserSplit("user", "time"), pl.DataFrame({"user": [1, 2], "time": [None, 1]}), tmp_path)
    with pytest.raises(DataError, match=r"Column 'time', row 1: found 'x'; allowed is a time"):
        split_of(UserSplit("user", "time"), pl.DataFrame({"user": [1, 2], "time": ["x", "10"]}), tmp_path)


def test_given_names(tmp_path: Path) -> None:
    names = ["train", "random", "test", "train", "val", "random"]
    assert split_of(GivenSplit(), pl.DataFrame({"split": names}), tmp_path, 2) == names
    enum = pl.Series("split", names, dtype=pl.Enum(["train", "random", "test", "val"]))
    assert split_of(GivenSplit(), enum.to_frame(), tmp_path) == names


@pytest.mark.parametrize("wrong", ["validation", "Test", "", "../x", "vocabulary", "links", "work", None])
def test_given_names_that_are_no_splits(wrong: str | None, tmp_path: Path) -> None:
    frame = pl.DataFrame({"split": ["train", "train", wrong]})
    with pytest.raises(DataError, match=r"Column 'split', row 3: found .*; allowed is train, val, test"):
        split_of(GivenSplit(), frame, tmp_path, 2)


def test_a_column_that_is_no_split(tmp_path: Path) -> None:
    frame = pl.DataFrame({"split": [f"a{i}" for i in range(100)]})
    with pytest.raises(DataError, match=r"Column 'split', row \d+: found 'a\d+'; allowed is train"):
        split_of(GivenSplit(), frame, tmp_path)
