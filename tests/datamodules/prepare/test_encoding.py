"""What a preparation learned, saved and taken by another: other rows mean what they mean to the training."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from mtlzoo.datamodules.columns import CategoricalColumn, GivenSplit, Label, NumericColumn, Recipe, SequenceColumn
from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.prepare import PreparedData, prepare
from mtlzoo.datamodules.prepare.encoding import Encoding
from mtlzoo.datamodules.prepare.row_encoder import RowEncoder

RECIPE = Recipe(
    columns=(
        CategoricalColumn("user", min_count=2),
        CategoricalColumn("item", hash_buckets=50),
        NumericColumn("price"),
        NumericColumn("views", "log1p"),
        NumericColumn("share", "minmax"),
        NumericColumn("plain", "none"),
        NumericColumn("age", buckets=4),
        SequenceColumn("tags", 3, separator="|", keep="last"),
        SequenceColumn("past", 2, table="user", min_count=2),
    ),
    labels=(Label("click"), Label("stars", kind="regression"), Label("kind", kind="multiclass", classes=3)),
    split=GivenSplit(needed=("train",)),
    user="user",
    group="item",
    ids=("row_id",),
)


def rows(count: int = 60, factor: float = 1.0) -> pl.DataFrame:
    numbers = range(count)
    return pl.DataFrame(
        {
            "user": [f"u{i % 7}" if i % 11 else None for i in numbers],
            "item": [i % 13 for i in numbers],
            "price": [i * factor if i % 9 else None for i in numbers],
            "views": [(i * i) % 31 - 3.0 for i in numbers],
            "share": [i / 10 if i % 8 else None for i in numbers],
            "plain": [float(i) for i in numbers],
            "age": [i % 17 if i % 6 else None for i in numbers],
            "tags": ["|".join(str(t) for t in range(i % 5)) for i in numbers],
            "past": [[f"u{i % 3}", f"u{i % 5}"] for i in numbers],
            "click": [i // 3 % 2 for i in numbers],
            "stars": [i % 5 + 0.5 for i in numbers],
            "kind": [i % 3 for i in numbers],
            "row_id": list(numbers),
            "split": ["train" if i % 4 else "test" for i in numbers],
        }
    )


def prepared(frame: pl.DataFrame, folder: Path, recipe: Recipe = RECIPE, like: Path | None = None) -> PreparedData:
    def read() -> Iterator[pl.DataFrame]:
        return frame.iter_slices(17)

    prepare(recipe, read, folder, name="Test", like=None if like is None else Encoding(like))
    return PreparedData(folder)


@pytest.mark.filterwarnings("ignore:Test. 100% of the ids of 'user' in val:mtlzoo.datamodules.errors.DataWarning")
def test_rows_are_encoded_as_in_the_training(tmp_path: Path) -> None:
    """The same rows, of which none is in train any more, and with others beside them."""
    training = prepared(rows(), tmp_path / "training")
    others = rows(40, factor=100.0).with_columns(split=pl.lit("val"), user=pl.lit("new"))
    mixed = pl.concat([others, rows().with_columns(split=pl.lit("test"))])
    again = prepared(mixed, tmp_path / "again", like=training.folder)
    assert again.schema == training.schema
    assert Encoding(again.folder).identity == Encoding(training.folder).identity
    test = rows()["split"].to_numpy() == "test"
    for name in set(training["test"]) - {"group"}:  # groups are numbered among the rows at hand
        for split, chosen in (("train", ~test), ("test", test)):
            torch.testing.assert_close(again["test"][name][chosen], training[split][name], equal_nan=True)
    assert (again["val"]["categorical"][:, 0] == 1).all()
    third = prepared(rows(), tmp_path / "third", like=again.folder)  # a copy of a copy
    torch.testing.assert_close(third["train"]["numeric"], training["train"]["numeric"])


def test_the_recipe_is_saved_but_for_its_split(tmp_path: Path) -> None:
    training = prepared(rows(), tmp_path / "training")
    assert replace(Encoding(training.folder).recipe, split=RECIPE.split) == RECIPE


@pytest.mark.parametrize(
    ("trained", "found"),
    [
        ([7, 8, 9], ["7", "8", "10"]),
        ([7, 8, 9], [7.0, 8.0, None]),
        (["7", "8", "9"], [7, 8, 10]),
        (["7", "8", "9"], [7.0, 8.0, None]),
        ([0.5, 7, 9], ["0.5", "7.0", ""]),
        ([date(2024, 5, 1), date(2024, 5, 2), date(2024, 5, 3)], [date(2024, 5, 1), date(2024, 5, 2), None]),
        (["a", "b", "c"], pl.Series(["a", "b", "z"], dtype=pl.Categorical)),
    ],
)
@pytest.mark.parametrize("buckets", [0, 1000])
def test_values_are_the_same_in_every_type(trained: Any, found: Any, buckets: int, tmp_path: Path) -> None:
    """A CSV has texts where Parquet has numbers, pandas has 7.0 where a value is missing."""
    recipe = Recipe((CategoricalColumn("u", hash_buckets=buckets),), (Label("y"),), GivenSplit(needed=("train",)))
    frame = pl.DataFrame({"u": trained, "y": [0, 1, 0], "split": ["train"] * 3})
    training = prepared(frame, tmp_path / "a", recipe)
    other = prepared(frame.with_columns(u=pl.Series(values=found)), tmp_path / "b", recipe, training.folder)
    ids, known = other["train"]["categorical"].flatten(), training["train"]["categorical"].flatten()
    assert ids[:2].tolist() == known[:2].tolist()
    assert ids[2] == 1 or buckets


@pytest.mark.filterwarnings("ignore:Test. 67% of the ids of 'u':mtlzoo.datamodules.errors.DataWarning")
@pytest.mark.parametrize("buckets", [0, 1000])
@pytest.mark.parametrize("trained", [[7, 8, 9], [0.5, 8, 9]])
def test_texts_that_name_no_number_are_unknown(trained: Any, buckets: int, tmp_path: Path) -> None:
    """In a table of numbers as in one of texts, which a training on a CSV has."""
    recipe = Recipe((CategoricalColumn("u", hash_buckets=buckets),), (Label("y"),), GivenSplit(needed=("train",)))
    texts = ["8", "8.0", "abc", "007", "7e0", "9223372036854775808", "", None]
    frame = pl.DataFrame({"u": trained, "y": [0, 1, 0], "split": ["train"] * 3})
    training = prepared(frame, tmp_path / "a", recipe)
    other = pl.DataFrame({"u": texts, "y": [0, 1] * 4, "split": ["train"] * 8})
    ids = prepared(other, tmp_path / "b", recipe, training.folder)["train"]["categorical"].flatten().tolist()
    eight = int(training["train"]["categorical"][1])
    assert ids == [eight, eight, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("buckets", [0, 1000])
@pytest.mark.parametrize(
    ("trained", "found"),
    [
        ([7, 8], [7.5, 8.0]),
        ([7, 8], ["True", "8"]),
        ([True, False], ["true", "false"]),
        ([7, 8], [datetime(2024, 5, 1), None]),
        ([date(2024, 5, 1), date(2024, 5, 2)], [datetime(2024, 5, 1, 3), None]),
        ([date(2024, 5, 1), date(2024, 5, 2)], ["2024-05-01", "x"]),
    ],
)
def test_other_things_are_refused(trained: Any, found: Any, buckets: int, tmp_path: Path) -> None:
    recipe = Recipe((CategoricalColumn("u", hash_buckets=buckets),), (Label("y"),), GivenSplit(needed=("train",)))
    frame = pl.DataFrame({"u": trained, "y": [0, 1], "split": ["train"] * 2})
    training = prepared(frame, tmp_path / "a", recipe)
    with pytest.raises(DataError, match="'u'"):
        prepared(frame.with_columns(u=pl.Series(values=found)), tmp_path / "b", recipe, training.folder)


@pytest.mark.filterwarnings("ignore:Test. .* of the ids of .* in test:mtlzoo.datamodules.errors.DataWarning")
@pytest.mark.filterwarnings("ignore:Test. the feature 'tags' has one value:mtlzoo.datamodules.errors.DataWarning")
@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"price": pl.col("price") * 100}, ["column 'price'"]),
        ({"age": pl.col("age") + 1}, ["column 'age'"]),
        ({"share": pl.col("share") + 1}, ["column 'share'"]),
        ({"plain": pl.col("plain") + 1}, ["column 'plain'"]),  # its mean stands for missing ones
        ({"stars": pl.col("stars") * 2}, ["label 'stars'"]),
        ({"user": pl.col("user").str.replace("u", "v")}, ["table 'user'"]),
        ({"tags": pl.lit("5|6|7|8")}, ["table 'tags'"]),
        ({"item": pl.col("item") + 1}, []),
        ({"row_id": pl.col("row_id") + 1}, []),
        ({"click": 1 - pl.col("click")}, []),
    ],
)
def test_the_identity_is_what_gives_numbers_their_meaning(
    change: dict[str, pl.Expr], parts: list[str], tmp_path: Path
) -> None:
    one = Encoding(prepared(rows(), tmp_path / "one").folder).identity
    in_train = rows().with_columns(**change)
    other = Encoding(prepared(in_train, tmp_path / "other").folder).identity
    assert sorted(part for part in one["parts"] if one["parts"][part] != other["parts"][part]) == parts
    assert (one["vocabulary"] == other["vocabulary"]) == (not any(part.startswith("table") for part in parts))
    test = pl.col("split") == "test"
    in_test = rows().with_columns(**{n: pl.when(test).then(e).otherwise(pl.col(n)) for n, e in change.items()})
    assert Encoding(prepared(in_test, tmp_path / "test").folder).identity == one


@pytest.mark.parametrize("keep", ["first", "last"])
def test_options_that_no_statistic_shows_belong_to_the_identity(keep: Any, tmp_path: Path) -> None:
    frame = pl.DataFrame({"tags": ["a", "b"], "x": [0.0, 1.0], "y": [0, 1], "split": ["train"] * 2})

    def identity(keep: Any, transform: Any, name: str) -> Any:
        columns = (SequenceColumn("tags", 1, keep=keep), NumericColumn("x", transform))
        recipe = Recipe(columns, (Label("y"),), GivenSplit(needed=("train",)))
        return Encoding(prepared(frame, tmp_path / name, recipe).folder).identity

    assert identity("first", "none", "a") != identity("last", "none", "b")
    assert identity(keep, "none", "c") != identity(keep, "minmax", "d")  # minmax clips


@pytest.mark.parametrize(
    ("file", "found", "put"),
    [
        ("encoding.json", '"min_count"', '"of_a_newer_version"'),
        ("encoding.json", '"learned"', '"known"'),
        ("encoding.json", '"parts"', '"pieces"'),
        ("encoding.json", '"tables"', '"shelves"'),
        ("schema.json", '"cardinality"', '"size"'),
        ("manifest.json", '"fingerprint"', '"print"'),
        ("vocabulary/user.parquet", "PAR1", "PAR7"),
    ],
)
@pytest.mark.every_case
def test_what_this_version_does_not_read_is_named(
    written: Path, tmp_path: Path, file: str, found: str, put: str
) -> None:
    shutil.copytree(written, tmp_path / "other")
    content = (tmp_path / "other" / file).read_bytes()
    assert found.encode() in content
    (tmp_path / "other" / file).write_bytes(content.replace(found.encode(), put.encode()))
    with pytest.raises(DataError, match=f"^{tmp_path / 'other'} holds no encoding that this version of mtlzoo reads: "):
        RowEncoder(Encoding(tmp_path / "other"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared") / "data"
    prepared(rows(), folder)
    return folder
