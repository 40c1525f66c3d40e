"""A preparation: the same rows whatever the chunks, what is written, and what errors and others leave or lose."""

import errno
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from filelock import FileLock

from fixtures.prepared import CLICK, SPLIT, prepared, prepared_column, with_clicks
from mtlzoo.datamodules.columns import (
    CategoricalColumn,
    Label,
    NumericColumn,
    RandomSplit,
    Recipe,
    SequenceColumn,
    TimeSplit,
    UserSplit,
)
from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.prepare import PreparedData, prepare
from mtlzoo.datamodules.prepare import build as module
from mtlzoo.datamodules.prepare.storage import SplitFiles


@pytest.mark.filterwarnings("ignore:Test. the (label 'click'|weights of val):mtlzoo.datamodules.errors.DataWarning")
@pytest.mark.filterwarnings("ignore:Test. 100% of the ids of 'who':mtlzoo.datamodules.errors.DataWarning")
@pytest.mark.parametrize("names", [[11, 7, 11, -5, 7], ["b", "a", "b", "c", "a"]])
def test_groups_ids_and_weights_keep_their_rows(names: list[Any], tmp_path: Path) -> None:
    frame = with_clicks(
        {"who": names, "day": ["m", None, "t", "w", "t"], "w": [1.0, 0.5, 2.0, 0.0, 1.0]},
        ["train", "test", "train", "val", "train"],
    )
    recipe = Recipe((CategoricalColumn("who"),), (CLICK,), SPLIT, group="who", ids=("day", "who"), weight="w")
    data = prepared(recipe, frame, tmp_path / "x", chunk=2)
    group = torch.cat([data[split]["group"] for split in ("train", "test", "val")]).tolist()
    ids = pl.concat([data[split].ids() for split in ("train", "test", "val")])
    assert ids.rows() == [("m", names[0]), ("t", names[2]), ("t", names[4]), (None, names[1]), ("w", names[3])]
    if isinstance(names[0], int):
        assert group == ids["who"].to_list()
    else:
        assert [len({g for g, who in zip(group, ids["who"], strict=True) if who == name}) for name in "abc"] == [
            1,
            1,
            1,
        ]
        assert sorted(set(group)) == [0, 1, 2]
    assert data["train"]["group"].dtype == torch.int64
    assert data["train"]["weight"].tolist() == [1, 2, 1]
    assert data["train"]["weight"].dtype == torch.float32


def random_frame(rows: int) -> pl.DataFrame:
    random = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "user": random.integers(0, 50, rows),
            "city": [f"c{i}" for i in random.integers(0, 9, rows)],
            "age": np.where(random.random(rows) < 0.1, np.nan, random.normal(30, 9, rows)),
            "seen": [[f"i{j}" for j in random.integers(0, 30, random.integers(0, 6))] for _ in range(rows)],
            "item": [f"i{j}" for j in random.integers(0, 30, rows)],
            "time": random.integers(0, 1000, rows),
            "click": random.integers(0, 2, rows),
            "money": random.normal(0, 1, rows),
        }
    )


@pytest.mark.parametrize(
    "split",
    [RandomSplit(0.2, 0.2), UserSplit("user", "time", 0.2, 0.2), TimeSplit("time", 600, 800)],
    ids=lambda s: type(s).__name__,
)
def test_chunks_do_not_matter(split: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(
        columns=(
            CategoricalColumn("user", min_count=2),
            CategoricalColumn("city", hash_buckets=20),
            NumericColumn("age"),
            SequenceColumn("seen", 4, table="item"),
            CategoricalColumn("item"),
        ),
        labels=(CLICK, Label("money", kind="regression")),
        split=split,
        group="item",
        ids=("user", "item"),
    )
    frame = random_frame(2000)
    reference = prepared(recipe, frame, tmp_path / "whole")
    monkeypatch.setattr(module, "CHUNK", 128)
    for chunk in (2000, 300, 7):
        data = prepared(recipe, frame, tmp_path / str(chunk), chunk)
        assert data.manifest["rows"] == reference.manifest["rows"]
        for name in ("train", "val", "test"):
            assert set(data[name]) == set(reference[name]) == {"categorical", "numeric", "labels", "group", "seen"}
            for column in data[name]:
                torch.testing.assert_close(data[name][column], reference[name][column], rtol=1e-5, atol=1e-6)
            assert data[name].ids().equals(reference[name].ids())
    bounds = [0, 1, 2, 100, 101, 500, 1900, 1901, 2000]  # of frames smaller and larger than a chunk
    uneven = [frame[start:stop] for start, stop in pairwise(bounds)]
    prepare(recipe, lambda: iter(uneven), tmp_path / "uneven", name="Test")
    data = PreparedData(tmp_path / "uneven")
    assert data["train"].ids().equals(reference["train"].ids())
    assert data["val"]["categorical"].equal(reference["val"]["categorical"])
    assert sum(reference.manifest["rows"].values()) == 2000
    assert min(reference.manifest["rows"].values()) > 250


@pytest.mark.filterwarnings(
    "ignore:Test. (the label 'click' is|100% of the ids of 'city'):mtlzoo.datamodules.errors.DataWarning"
)
def test_what_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = prepared_column(
        CategoricalColumn("city"), with_clicks({"city": ["a", "b"]}, ["train", "random"]), tmp_path / "Test-0123"
    )
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == [
        "Test-0123.lock",
        "Test-0123/checksums.json",
        "Test-0123/encoding.json",
        "Test-0123/manifest.json",
        "Test-0123/random/categorical.npy",
        "Test-0123/random/labels.npy",
        "Test-0123/schema.json",
        "Test-0123/train/categorical.npy",
        "Test-0123/train/labels.npy",
        "Test-0123/vocabulary/city.parquet",
    ]
    manifest = json.loads((tmp_path / "Test-0123/manifest.json").read_text())
    assert manifest["name"] == "Test"
    assert manifest["fingerprint"] == "Test-0123"
    assert manifest["rows"] == {"train": 1, "val": 0, "test": 0, "random": 1}
    assert {"mtlzoo", "polars", "numpy", "pyarrow", "python"} == set(manifest["versions"])
    with pytest.raises(DataError, match="no rows in split 'val'"):
        data["val"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("Test: prepared; 2 rows read, 2 kept (train 1, val 0, test 0, random 1), 0 dropped; ")


def test_a_finished_preparation_is_used_without_reading(tmp_path: Path) -> None:
    prepared_column(CategoricalColumn("city"), with_clicks({"city": ["a", "b"]}), tmp_path / "x")

    def never() -> Iterator[pl.DataFrame]:
        raise AssertionError("read again")

    prepare(Recipe((CategoricalColumn("city"),), (CLICK,), SPLIT), never, tmp_path / "x", name="Test")


def test_a_folder_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match=r"no finished preparation .*Delete it"):
        prepared_column(CategoricalColumn("city"), with_clicks({"city": ["a", "b"]}), tmp_path / "x")
    assert (tmp_path / "x/thesis.tex").exists()


def test_what_killed_processes_left_is_removed_unless_somebody_works_on_it(tmp_path: Path) -> None:
    for name in (".x.11.partial", ".X-01.2.partial", ".busy.33.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "categorical.npy").write_bytes(b"half")
    with FileLock(tmp_path / "busy.lock"):
        prepared_column(CategoricalColumn("city"), with_clicks({"city": ["a", "b"]}), tmp_path / "x")
    assert [path.name for path in tmp_path.glob(".*")] == [".busy.33.partial"]


def test_an_error_while_reading_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[pl.DataFrame]:
        yield with_clicks({"x": [1, 2, 3]})
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        prepare(Recipe((CategoricalColumn("x"),), (CLICK,), SPLIT), broken, tmp_path / "x", name="Test")
    assert [path.name for path in tmp_path.iterdir()] == ["x.lock"]


def test_an_error_of_the_disk_that_a_thread_meets_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: SplitFiles) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(SplitFiles, "flush", broken)
    with pytest.raises(OSError, match="Input/output error"):
        prepare(
            Recipe((CategoricalColumn("x"),), (CLICK,), SPLIT),
            lambda: iter([with_clicks({"x": [1, 2, 3]})]),
            tmp_path / "x",
            name="T",
        )
    assert [path.name for path in tmp_path.iterdir()] == ["x.lock"]
