"""What a preparation says of rows that it does not keep, and which losses it refuses."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mtlzoo.datamodules import DataError
from mtlzoo.datamodules.columns import (
    CategoricalColumn,
    GivenSplit,
    Label,
    RandomSplit,
    Recipe,
    Split,
    TimeSplit,
    UserSplit,
)
from mtlzoo.datamodules.prepare import prepare
from mtlzoo.datamodules.reading.tally import Tally

ROWS = pl.DataFrame(
    {
        "user": [f"u{i % 5}" for i in range(40)],
        "time": list(range(40)),
        "click": [i % 2 for i in range(40)],
        "split": ["train"] * 30 + ["val"] * 6 + ["test"] * 4,
    }
)


def prepared(split: Split, folder: Path, frame: pl.DataFrame = ROWS) -> dict[str, Any]:
    prepare(Recipe((CategoricalColumn("user"),), (Label("click"),), split), lambda: iter([frame]), folder, name="Test")
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return manifest


def counting(tally: Tally, read: Callable[[pl.DataFrame], pl.DataFrame], folder: Path) -> dict[str, Any]:
    def rows() -> Iterator[pl.DataFrame]:
        yield from map(read, ROWS.iter_slices(7))

    recipe = Recipe((CategoricalColumn("user"),), (Label("click"),), GivenSplit())
    prepare(recipe, rows, folder, name="Test", tally=tally)
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return manifest


def test_the_last_line_and_the_manifest_account_for_every_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tally = Tally()

    def read(rows: pl.DataFrame) -> pl.DataFrame:
        rows = tally.keep(rows, pl.col("time") >= 3, "too early")
        tally.joined("users.csv", rows["user"] != "u9")
        tally.joined("items.csv", rows["time"] != 9)
        return tally.keep(rows, rows["time"] != 35, "not in shops.csv", most=0.1)

    manifest = counting(tally, read, tmp_path / "x")
    assert manifest["rows"] == {"train": 27, "val": 5, "test": 4}
    assert manifest["dropped"] == {"too early": 3, "not in shops.csv": 1}
    assert manifest["missed"] == {"items.csv": {"rows": 1, "of": 37}}
    said = capsys.readouterr().err
    assert "40 rows read, 36 kept (train 27, val 5, test 4), 4 dropped (too early 3, not in shops.csv 1)" in said
    assert "not found in items.csv 1 of 37" in said


def test_rows_are_counted_anew_when_they_are_read_again(tmp_path: Path) -> None:
    tally = Tally()
    manifests = [
        counting(tally, lambda rows: tally.keep(rows, pl.col("time") > 0, "first"), tmp_path / str(i)) for i in range(2)
    ]
    assert [manifest["dropped"] for manifest in manifests] == [{"first": 1}] * 2


LOSSES: dict[str, tuple[Callable[[Tally, pl.DataFrame], object], str]] = {
    "half of an inner join": (
        lambda tally, rows: tally.keep(rows, rows["time"] % 2 == 0, "not in users.csv", most=0.3),
        r"20 of 40 rows \(50.0%\) are dropped as 'not in users.csv'; at most 30.0% may",
    ),
    "an eighth of a left join": (
        lambda tally, rows: tally.joined("users.csv", rows["time"] >= 5),
        r"5 of 40 rows \(12.5%\) are not found in users.csv; at most 10.0% may",
    ),
    "lines before there are rows": (
        lambda tally, rows: tally.drop("cut", 4, of=len(rows), most=0.1),
        r"24 of 40 rows \(60.0%\) are dropped as 'cut'",
    ),
    "every row": (
        lambda tally, rows: tally.keep(rows, pl.lit(False), "not wanted"),
        r"no row is left of the raw files; dropped: \{'not wanted': 40\}",
    ),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_above_its_bound_is_refused(loss: str, tmp_path: Path) -> None:
    tally = Tally()
    lose, message = LOSSES[loss]

    def read(rows: pl.DataFrame) -> pl.DataFrame:
        left = lose(tally, rows)
        return left if isinstance(left, pl.DataFrame) else rows

    with pytest.raises(DataError, match=message):
        counting(tally, read, tmp_path / "x")
    assert list(tmp_path.iterdir()) == [tmp_path / "x.lock"]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (TimeSplit("time", val=30, test=99), r"No row is in test; .* ask for no such split: test=None"),
        (TimeSplit("time", val=98, test=99), r"No row is in val or test; .* val=None, test=None"),
        (TimeSplit("time", val=0, test=20), r"No row is in train; .*Change TimeSplit"),
        (RandomSplit(val=1e-9, test=0.5), r"No row is in val; .* val=0"),
        (RandomSplit(val=0.5, test=1e-9), r"No row is in test; .* test=0"),
        (UserSplit("user", val=0.01, test=0.5), r"No row is in val; .* val=0"),
        (GivenSplit("user"), r"No row is in train or val or test"),
        (GivenSplit(needed=("train", "random")), r"No row is in random; .* needed=\['train'\]"),
    ],
)
def test_an_empty_split_is_refused(split: Split, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        prepared(split, tmp_path / "x")


@pytest.mark.parametrize(
    "split",
    [
        TimeSplit("time", val=None, test=None),
        TimeSplit("time", val=None, test=30),
        TimeSplit("time", val=30, test=None),
        TimeSplit("time", val=30, test=30),
        RandomSplit(val=0, test=0.5),
        RandomSplit(val=0.5, test=0),
        UserSplit("user", val=0, test=0),
        GivenSplit(needed=("train",)),
    ],
)
def test_a_split_that_is_not_asked_for_may_be_empty(split: Split, tmp_path: Path) -> None:
    frame = ROWS.filter(pl.col("split") == "train") if isinstance(split, GivenSplit) else ROWS
    manifest = prepared(split, tmp_path / "x", frame)
    assert {name for name, rows in manifest["rows"].items() if rows} == set(split.needed)


@pytest.mark.parametrize("needed", ["train", ["val"], []])
def test_needed_splits_are_names_with_train(needed: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allowed are "):
        prepared(GivenSplit(needed=needed), tmp_path / "x")
