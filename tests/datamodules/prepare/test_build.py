"""The preparation against plain Python: ids, numbers, sequences, labels, groups; what is written, what refused."""

import errno
import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from filelock import FileLock

from mtlzoo.datamodules.columns import (
    CategoricalColumn,
    GivenSplit,
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
from mtlzoo.datamodules.prepare.encoders import numeric
from mtlzoo.datamodules.prepare.storage import SplitFiles

CLICK = Label("click")
SPLIT = GivenSplit(needed=("train",))


def prepared(recipe: Recipe, frame: pl.DataFrame, folder: Path, chunk: int = 1 << 20) -> PreparedData:
    prepare(recipe, lambda: frame.iter_slices(chunk), folder, name="Test")
    return PreparedData(folder)


def given(frame: dict[str, Any], splits: list[str] | None = None) -> pl.DataFrame:
    """A frame with a click and a split: train throughout if not said."""
    rows = len(next(iter(frame.values())))
    return pl.DataFrame({"click": [0, 1] * (rows // 2) + [0] * (rows % 2), "split": splits or ["train"] * rows} | frame)


def one(column: Any, frame: pl.DataFrame, folder: Path, **recipe: Any) -> PreparedData:
    return prepared(Recipe(columns=(column,), labels=(CLICK,), split=SPLIT, **recipe), frame, folder)


def test_ids_come_from_train_by_count_and_value(tmp_path: Path) -> None:
    city = ["b", "a", "b", "a", "c", "d", "", None, "new", "b"]
    data = one(
        CategoricalColumn("city", min_count=1), given({"city": city}, ["train"] * 8 + ["test"] * 2), tmp_path / "x"
    )
    assert data["train"]["categorical"].flatten().tolist() == [3, 2, 3, 2, 4, 5, 1, 1]
    assert data["test"]["categorical"].flatten().tolist() == [1, 3]
    assert data.schema.categorical[0].cardinality == 6
    vocabulary = pl.read_parquet(tmp_path / "x/vocabulary/city.parquet")
    assert vocabulary.rows() == [("a", 2, 2), ("b", 2, 3), ("c", 1, 4), ("d", 1, 5)]
    assert data.manifest["unknown_rates"] == {"train": {"city": 0.25}, "test": {"city": 0.5}}


def test_min_count_counts_train_only(tmp_path: Path) -> None:
    frame = given({"city": ["a", "a", "b", "b", "b"]}, ["train", "train", "train", "test", "val"])
    data = one(CategoricalColumn("city", min_count=2), frame, tmp_path / "x")
    assert data["train"]["categorical"].flatten().tolist() == [2, 2, 1]
    assert data["test"]["categorical"].tolist() == [[1]]


def test_a_shared_table_has_one_vocabulary_with_counts_added(tmp_path: Path) -> None:
    recipe = Recipe(
        columns=(CategoricalColumn("item"), SequenceColumn("seen", 3, table="item", keep="last")),
        labels=(CLICK,),
        split=SPLIT,
    )
    frame = given({"item": [7, 8, 9], "seen": ["8,9,9,8", None, "5, 7,,"]})
    data = prepared(recipe, frame, tmp_path / "x")
    # Counts over both: 7 twice, 8 twice (the first 8 is cut off), 9 three times, 5 once.
    assert data["train"]["categorical"].flatten().tolist() == [3, 4, 2]
    assert data["train"]["seen"].tolist() == [[2, 2, 4], [0, 0, 0], [5, 3, 0]]
    assert data.schema.tables == {"item": 6}


@pytest.mark.parametrize("keep", ["first", "last"])
def test_sequences_from_lists_and_texts_are_the_same(keep: Any, tmp_path: Path) -> None:
    lists: list[list[str | None] | None] = [["a", "b", "c"], [], ["c", None, "c", "a"], None, ["d"]]
    texts = [None if row is None else "|".join(item or "" for item in row) for row in lists]
    expected = []
    counts: Counter[str] = Counter()
    for row in lists:
        items = [item for item in row or [] if item is not None]
        expected.append(items[:2] if keep == "first" else items[-2:])
        counts.update(expected[-1])
    order = sorted(counts, key=lambda value: (-counts[value], value))
    wanted = [([order.index(item) + 2 for item in row] + [0, 0])[:2] for row in expected]
    for values, name in ((lists, "lists"), (texts, "texts")):
        column = SequenceColumn("tags", 2, separator="|", keep=keep)
        data = one(column, given({"tags": values}), tmp_path / name)
        assert data["train"]["tags"].tolist() == wanted
        assert data["train"]["tags"].dtype == torch.int32


def test_values_are_the_same_in_every_number_type(tmp_path: Path) -> None:
    recipe = Recipe(columns=(CategoricalColumn("code"),), labels=(CLICK,), split=SPLIT)
    chunks = [given({"code": [3, 4]}), given({"code": [3.0, None]}), given({"code": pl.Series([4], dtype=pl.UInt8)})]
    prepare(recipe, lambda: iter(chunks), tmp_path / "x", name="Test")
    ids = PreparedData(tmp_path / "x")["train"]["categorical"].flatten().tolist()
    assert ids == [2, 3, 2, 1, 3]


def test_hashed_columns_need_no_vocabulary(tmp_path: Path) -> None:
    frame = given({"user": [*range(100), None]}, ["train"] * 50 + ["test"] * 51)
    data = one(CategoricalColumn("user", hash_buckets=1000), frame, tmp_path / "x")
    assert data.schema.tables == {"user": 1002}
    ids = data["test"]["categorical"].flatten().tolist()
    assert ids[-1] == 1
    assert len(set(ids)) > 45
    assert not list((tmp_path / "x/vocabulary").iterdir())


# ---- numbers

RAW: list[Any] = [1.0, -2.0, None, 30.0, 4.0, float("nan")]
LATER: list[Any] = [100.0, -5.0, None]


def transformed(transform: Any, tmp_path: Path, values: list[Any] = RAW) -> tuple[Any, Any]:
    frame = given({"x": values + LATER}, ["train"] * len(values) + ["test"] * len(LATER))
    data = one(NumericColumn("x", transform), frame, tmp_path / transform)
    assert data["train"]["numeric"].dtype == torch.float32
    return data["train"]["numeric"].flatten().tolist(), data["test"]["numeric"].flatten().tolist()


@pytest.mark.parametrize("transform", ["standardize", "log1p"])
def test_standardised_by_train_with_missing_ones_at_the_mean(transform: str, tmp_path: Path) -> None:
    def bent(x: list[Any]) -> Any:
        y = np.asarray(x, np.float64)
        return np.sign(y) * np.log1p(np.abs(y)) if transform == "log1p" else y

    mean, deviation = np.nanmean(bent(RAW)), np.nanstd(bent(RAW))
    train, test = transformed(transform, tmp_path)
    np.testing.assert_allclose(train, np.nan_to_num((bent(RAW) - mean) / deviation), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(test, np.nan_to_num((bent(LATER) - mean) / deviation), rtol=1e-6, atol=1e-7)


def test_minmax_is_clipped_and_none_is_raw(tmp_path: Path) -> None:
    mean: Any = np.nanmean(np.asarray(RAW, np.float64))
    train, test = transformed("minmax", tmp_path)
    np.testing.assert_allclose(train, [3 / 32, 0, (mean + 2) / 32, 1, 6 / 32, (mean + 2) / 32], rtol=1e-6)
    np.testing.assert_allclose(test, [1, 0, (mean + 2) / 32], rtol=1e-6)
    train, test = transformed("none", tmp_path)
    np.testing.assert_allclose(train, [1, -2, mean, 30, 4, mean], rtol=1e-6)


@pytest.mark.parametrize("transform", ["standardize", "log1p", "minmax"])
def test_a_constant_becomes_zero(transform: str, tmp_path: Path) -> None:
    train, _ = transformed(transform, tmp_path, [0.1] * 1001 + [None])
    assert set(train) == {0.0}


def test_moments_do_not_lose_precision_far_from_zero(tmp_path: Path) -> None:
    values = 1.65e12 + np.random.default_rng(0).normal(0, 3, 100_000)
    recipe = Recipe((NumericColumn("x"),), (CLICK,), SPLIT)
    data = prepared(recipe, given({"x": values}), tmp_path / "x", chunk=999)
    numbers = data["train"]["numeric"].double()
    assert abs(numbers.mean().item()) < 1e-4
    assert abs(numbers.std().item() - 1) < 1e-3


@pytest.mark.parametrize("sample", [50, 1_000_000])
def test_quantile_buckets(sample: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numeric, "SAMPLE", sample)
    values = np.random.default_rng(0).permutation(1000).astype(float).tolist()
    frame = given({"x": [*values, None, -1.0, 5000.0]}, ["train"] * 1000 + ["test"] * 3)
    data = prepared(Recipe((NumericColumn("x", buckets=4),), (CLICK,), SPLIT), frame, tmp_path / "x", chunk=100)
    assert [feature.name for feature in data.schema.categorical] == ["x"]
    assert data.schema.tables == {"x": 6}
    assert data["test"]["categorical"].flatten().tolist() == [1, 2, 5]
    counts = np.bincount(data["train"]["categorical"].flatten().numpy(), minlength=6)
    assert counts[:2].tolist() == [0, 0]
    if sample > 1000:
        assert counts[2:].tolist() == [250] * 4
    else:
        assert counts[2:].min() > 100


def test_buckets_of_ties_hold_something_each(tmp_path: Path) -> None:
    data = one(NumericColumn("x", buckets=10), given({"x": [0] * 60 + [1] * 25 + [2] * 15}), tmp_path / "x")
    assert data["train"]["categorical"].flatten().tolist() == [2] * 60 + [3] * 25 + [4] * 15
    assert data.schema.tables == {"x": 5}
    data = one(NumericColumn("x", buckets=10), given({"x": [7] * 10}), tmp_path / "y")
    assert data.schema.tables == {"x": 3}


# ---- labels, weights, groups, ids


def test_labels_of_every_kind(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "x": [1, 2, 3, 4],
            "click": [True, True, False, None],
            "buy": [1, None, 0, 1],
            "seconds": [1.0, 3.0, None, 8.0],
            "stars": [0, 2, None, 1],
            "topics": ["0;2.0", "[]", None, "1"],
            "split": ["train", "train", "train", "test"],
        }
    )
    labels = (
        Label("click", weight=2.0),
        Label("buy", name="conversion", observed="click"),
        Label("seconds", kind="regression"),
        Label("seconds", name="raw", kind="regression", standardize=False),
        Label("stars", kind="multiclass", classes=3),
        Label("topics", kind="multilabel", classes=3, separator=";"),
    )
    data = prepared(Recipe((CategoricalColumn("x"),), labels, SPLIT), frame, tmp_path / "x")
    nan = float("nan")
    expected = [
        [1, 1, 1, 1, 0, 1, 0, 1],
        [1, nan, 3, 3, 2, 0, 0, 0],
        [0, nan, nan, nan, nan, nan, nan, nan],
    ]
    np.testing.assert_array_equal(data["train"]["labels"].numpy(), np.asarray(expected, np.float32))
    np.testing.assert_array_equal(
        data["test"]["labels"].numpy(), np.asarray([[nan, nan, 8, 8, 1, 0, 1, 0]], np.float32)
    )
    tasks = {task.name: task for task in data.schema.tasks}
    assert (tasks["seconds"].center, tasks["seconds"].scale) == (2.0, 1.0)  # of 1 and 3: train only
    assert (tasks["raw"].center, tasks["raw"].scale) == (0.0, 1.0)
    assert tasks["click"].weight == 2.0
    assert tasks["conversion"].observed == "click"
    assert data.manifest["label_rates"]["train"] == {
        "click": 0.666667,
        "conversion": 1.0,
        "seconds": 2.0,
        "raw": 2.0,
        "stars": [0.5, 0.0, 0.5],
        "topics": [0.5, 0.0, 0.5],
    }
    assert data.manifest["label_rates"]["test"]["click"] is None


@pytest.mark.parametrize("names", [[11, 7, 11, -5, 7], ["b", "a", "b", "c", "a"]])
def test_groups_ids_and_weights_keep_their_rows(names: list[Any], tmp_path: Path) -> None:
    frame = given(
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


# ---- invariance, splits, files


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


def test_what_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = one(CategoricalColumn("city"), given({"city": ["a", "b"]}, ["train", "random"]), tmp_path / "Test-0123")
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
    one(CategoricalColumn("city"), given({"city": ["a", "b"]}), tmp_path / "x")

    def never() -> Iterator[pl.DataFrame]:
        raise AssertionError("read again")

    prepare(Recipe((CategoricalColumn("city"),), (CLICK,), SPLIT), never, tmp_path / "x", name="Test")


# ---- refusals

FINE = {"x": [1, 2, 3], "click": [0, 1, 1], "split": ["train"] * 3}


@pytest.mark.parametrize(
    ("change", "recipe", "message"),
    [
        ({}, {"columns": (CategoricalColumn("y"),)}, r"Test: no column \['y'\]; it has \['x', 'click', 'split'\]"),
        ({"click": [0, 1, 2]}, {}, r"Column 'click', row 3: found 2; allowed is 0 or 1, or null.*kind"),
        ({"click": [0, 1, 0.5]}, {}, r"Column 'click', row 3: found 0.5; allowed is 0 or 1"),
        (
            {"click": ["0", "maybe", "1"]},
            {},
            r"Column 'click', row 2: found 'maybe'; allowed is 1 1.0 true t yes y for 1",
        ),
        (
            {"click": [0, 3, 1]},
            {"labels": (Label("click", kind="multiclass", classes=3),)},
            r"row 2: found 3.*from 0 to 2",
        ),
        (
            {"click": [[0], [1, 4], []]},
            {"labels": (Label("click", kind="multilabel", classes=3),)},
            r"'click', row 2: found 4",
        ),
        (
            {"click": [0, 1, float("inf")]},
            {"labels": (Label("click", kind="regression"),)},
            r"'click', row 3: found inf",
        ),
        (
            {"o": [0, 7, 1]},
            {"labels": (Label("click", observed="o"),)},
            r"Column 'o', row 2: found 7.*; allowed is 0 or 1, or null",
        ),
        (
            {"x": [1, 2, float("-inf")]},
            {"columns": (NumericColumn("x"),)},
            r"Column 'x', row 3: found -inf; allowed is a finite",
        ),
        (
            {"x": ["1", "2", "3,5"]},
            {"columns": (NumericColumn("x"),)},
            r"Column 'x', row 3: found '3,5'; allowed is a number",
        ),
        (
            {"x": [[1], [2], [3]]},
            {"columns": (NumericColumn("x"),)},
            r"Column 'x' holds List\(Int64\); allowed are numbers",
        ),
        ({"x": [[1], [2], [3]]}, {}, r"Column 'x' holds List.*SequenceColumn"),
        (
            {},
            {"columns": (SequenceColumn("x", 2),)},
            r"Column 'x' holds Int64; allowed are lists, or text such as '12,65'",
        ),
        ({"x": [None] * 3}, {"columns": (NumericColumn("x"),)}, r"Column 'x' has no number in train"),
        ({"x": [None] * 3}, {"columns": (NumericColumn("x", buckets=3),)}, r"Column 'x' has no number in train"),
        ({"w": [1, -1, 1]}, {"weight": "w"}, r"Column 'w', row 2: found -1; allowed is a weight >= 0"),
        ({"w": [1, 1, None]}, {"weight": "w"}, r"Column 'w', row 3: found None; allowed is a weight >= 0"),
        ({"x": [1, None, 3]}, {"group": "x"}, r"Column 'x', row 2: found None; allowed is a value in every row"),
        ({"x": ["a", "b", ""]}, {"group": "x"}, r"Column 'x', row 3: found ''; allowed is a value in every row"),
        (
            {"split": ["val", "test", "val"]},
            {},
            r"No row is in train; rows per split: {'train': 0, 'val': 2, 'test': 1}",
        ),
        ({"x": [], "click": [], "split": []}, {}, r"Test: the raw files hold no rows"),
    ],
)
def test_rows_refused(change: dict[str, Any], recipe: dict[str, Any], message: str, tmp_path: Path) -> None:
    declared = Recipe(**{"columns": (CategoricalColumn("x"),), "labels": (CLICK,), "split": SPLIT, **recipe})
    with pytest.raises(DataError, match=message):
        prepared(declared, pl.DataFrame(FINE | change, strict=False), tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["x.lock"]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"columns": (CategoricalColumn("click"),)}, r"\['click'\] are features and labels at once"),
        ({"columns": (CategoricalColumn("x"), CategoricalColumn("x"))}, r"feature names occur more than once: \['x'\]"),
        (
            {"columns": (CategoricalColumn("x"), SequenceColumn("y", 2, table="x", min_count=2))},
            "shares table 'x' with",
        ),
        ({"columns": (NumericColumn("x", buckets=3), CategoricalColumn("y", table="x"))}, "holds quantile buckets"),
        ({"user": "y"}, "user='y' is not one of the categorical features"),
        ({"labels": (Label("click", kind="multilabel"),)}, "multiclass and multilabel need classes >= 2"),
    ],
)
def test_recipes_refused_before_a_row_is_read(recipe: dict[str, Any], message: str, tmp_path: Path) -> None:
    def never() -> Iterator[pl.DataFrame]:
        raise AssertionError("read first")

    declared = Recipe(**{"columns": (CategoricalColumn("x"),), "labels": (CLICK,), "split": SPLIT, **recipe})
    with pytest.raises(ValueError, match=message):
        prepare(declared, never, tmp_path / "x", name="Test")


def test_a_later_chunk_of_another_type_is_refused_with_its_row(tmp_path: Path) -> None:
    chunks = [pl.DataFrame(FINE), pl.DataFrame(FINE | {"x": ["a", "b", "c"]})]
    recipe = Recipe((CategoricalColumn("x"),), (CLICK,), SPLIT)
    with pytest.raises(DataError, match="Column 'x' holds Int64 before row 4 and String from there on"):
        prepare(recipe, lambda: iter(chunks), tmp_path / "x", name="Test")


def test_a_folder_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match=r"no finished preparation .*Delete it"):
        one(CategoricalColumn("city"), given({"city": ["a", "b"]}), tmp_path / "x")
    assert (tmp_path / "x/thesis.tex").exists()


def test_what_killed_processes_left_is_removed_unless_somebody_works_on_it(tmp_path: Path) -> None:
    for name in (".x.11.partial", ".X-01.2.partial", ".busy.33.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "categorical.npy").write_bytes(b"half")
    with FileLock(tmp_path / "busy.lock"):
        one(CategoricalColumn("city"), given({"city": ["a", "b"]}), tmp_path / "x")
    assert [path.name for path in tmp_path.glob(".*")] == [".busy.33.partial"]


def test_an_error_while_reading_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[pl.DataFrame]:
        yield pl.DataFrame(FINE)
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
            lambda: iter([pl.DataFrame(FINE)]),
            tmp_path / "x",
            name="T",
        )
    assert [path.name for path in tmp_path.iterdir()] == ["x.lock"]
