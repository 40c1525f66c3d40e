"""What looks wrong in prepared data is said once, when they are prepared."""

import warnings
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mtlzoo.datamodules import TabularDataModule
from mtlzoo.datamodules.errors import DataWarning

FINE: dict[str, list[Any]] = {"u": ["a", "b", "c", "b"], "x": [1.0, 2.0, 3.0, 4.0], "y": [0, 1, 0, 1]}
BINARY = {"y": "binary"}
MULTI = {"y": {"kind": "multiclass", "classes": 3}}
SETS = {"y": {"kind": "multilabel", "classes": 3}}


def said(folder: Path, train: dict[str, Any], val: dict[str, Any], **options: Any) -> list[str]:
    description: dict[str, Any] = {"features": {"u": "categorical", "x": "numeric"}, "labels": BINARY, **options}
    frames = [pl.DataFrame({**FINE, **changed}) for changed in (train, {**train, **val}, train)]
    data = TabularDataModule.from_frame(*frames, prepared=folder, **description)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data.prepare_data()
        data.prepare_data()
    assert all(warning.category is DataWarning for warning in caught)
    return [str(warning.message).removeprefix("TabularDataModule: ") for warning in caught]


@pytest.mark.parametrize(
    ("train", "val", "options"),
    [
        ({}, {}, {}),
        ({}, {"u": ["a", "b", "new", "newer"]}, {}),  # half is not most
        ({}, {"u": ["a", None, "", ""]}, {}),  # missing is not unknown
        ({}, {"u": ["a", "a", "a", "a"], "x": [1.0] * 4}, {}),  # one value matters in train alone
        ({}, {"y": [2.0] * 4}, {"labels": {"y": "regression"}}),
        ({"x": [1.0, None, 2.0, None]}, {"x": [None] * 4}, {}),
        ({}, {"u": ["q", "r", "s", "t"]}, {"features": {"u": {"kind": "categorical", "hash_buckets": 9}}}),
        ({"y": [[0], [1], [], [2]]}, {"y": [[0], [], [1], [2]]}, {"labels": SETS}),
    ],
)
def test_nothing_is_said_of_what_is_fine(
    tmp_path: Path, train: dict[str, Any], val: dict[str, Any], options: dict[str, Any]
) -> None:
    assert said(tmp_path, train, val, **options) == []


@pytest.mark.parametrize(
    ("train", "val", "options", "expected"),
    [
        ({}, {"u": ["p", "q", "r", "s"]}, {}, "100% of the ids of 'u' in val are unknown, 'p', 'q', 'r' for example"),
        ({}, {"u": ["p", None, "p", "a"]}, {}, "67% of the ids of 'u' in val are unknown, 'p' for example"),
        (
            {},
            {},
            {"features": {"u": {"kind": "categorical", "min_count": 3}}},
            "100% of the ids of 'u' in train are unknown, 'a', 'b', 'c' for example",
        ),
        (
            {"t": [["a", "b"], ["b"], [], None]},
            {"t": [["a", "x"], ["y", "z"], [], None]},
            {"features": {"t": {"kind": "sequence", "max_length": 3}}},
            "75% of the ids of 't' in val are unknown, 'x', 'y', 'z' for example",
        ),
        ({"u": ["a"] * 4}, {"u": ["a"] * 4}, {}, "the feature 'u' has one value in train"),
        ({"x": [7.0] * 4}, {}, {}, "the feature 'x' has one value in train"),
        ({"x": [7.0, None, 7.0, None]}, {}, {}, "the feature 'x' has one value in train"),
        ({"x": [7.0] * 4}, {}, {"features": {"x": {"kind": "numeric", "buckets": 3}}}, "the feature 'x' has one value"),
        (
            {"y": [1] * 4},
            {},
            {},
            "the label 'y' is 1 in every row of train that has one, so that there is nothing to learn",
        ),
        ({"y": [0, None, 0, None]}, {}, {}, "the label 'y' is 0 in every row of train"),
        (
            {"y": [None] * 4},
            {},
            {},
            "the label 'y' is missing in every row of train, so that there is nothing to learn",
        ),
        ({}, {"y": [None] * 4}, {}, "the label 'y' is missing in every row of val, so that its metrics are undefined"),
        ({}, {"y": [0] * 4}, {}, "the label 'y' is 0 in every row of val that has one, so that some of its metrics"),
        ({"y": [2.5] * 4}, {}, {"labels": {"y": "regression"}}, "the label 'y' is 2.5 in every row of train"),
        ({"y": [2] * 4}, {}, {"labels": MULTI}, "the label 'y' is 2 in every row of train"),
        ({}, {"y": [2] * 4}, {"labels": MULTI}, "the label 'y' is 2 in every row of val"),
        ({"w": [1.0] * 4}, {"w": [0.0] * 4}, {"weight": "w"}, "the weights of val are all 0"),
    ],
)
def test_what_looks_wrong_is_said(
    tmp_path: Path, train: dict[str, Any], val: dict[str, Any], options: dict[str, Any], expected: str
) -> None:
    lines = said(tmp_path, train, val, **options)
    assert any(line.startswith(expected) for line in lines), lines


def test_every_split_has_its_own_examples(tmp_path: Path) -> None:
    frames = [pl.DataFrame({**FINE, "u": users}) for users in (FINE["u"], list("pqrs"), list("vwxy"))]
    data = TabularDataModule.from_frame(*frames, prepared=tmp_path, features={"u": "categorical"}, labels=BINARY)
    with pytest.warns(DataWarning) as caught:
        data.prepare_data()
    found = sorted(str(warning.message) for warning in caught)
    assert "in test are unknown, 'v', 'w', 'x' for" in found[0]
    assert "in val are unknown, 'p', 'q', 'r' for" in found[1]
