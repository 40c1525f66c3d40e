"""Rows and recipes that are refused, with column, row and what is allowed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fixtures.prepared import CLICK, SPLIT, prepared
from mtlzoo.datamodules.columns import CategoricalColumn, Label, NumericColumn, Recipe, SequenceColumn
from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.prepare import prepare

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
            r"Column 'x' holds List\(Int64\), such as \[1\]; allowed are numbers",
        ),
        ({"x": [[1], [2], [3]]}, {}, r"Column 'x' holds List.*SequenceColumn"),
        (
            {},
            {"columns": (SequenceColumn("x", 2),)},
            r"Column 'x' holds Int64, such as 1; allowed are lists, or text such as '12,65'",
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
