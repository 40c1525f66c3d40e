"""Declarations: every option with a value that it may not have, in Python, in descriptions, and of tables of Python."""

import math
from typing import Any

import polars as pl
import pytest

from mtlzoo.datamodules import TabularDataModule
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

NO_COUNT = [0, -3, 2.0, "5", True, math.nan, None, 2**40, [5]]
NO_SHARE = [-0.1, 1.5, "0.1", True, math.nan, math.inf, None]
NO_NAME = ["", 3, None, True]
WRONG: dict[type, dict[str, list[Any]]] = {
    CategoricalColumn: {
        "name": NO_NAME,
        "min_count": NO_COUNT,
        "hash_buckets": [-1, 1.5, "8", True],
        "table": [3, None],
    },
    NumericColumn: {"transform": ["log", "standardise", "None", None, 1], "buckets": [-1, 2.5, "4", True]},
    SequenceColumn: {
        "max_length": NO_COUNT,
        "separator": NO_NAME,
        "keep": ["newset", "latest", "Last", True],
        "min_count": NO_COUNT,
        "hash_buckets": [-1],
        "pooling": ["avg", "Mean", "atention", None],
        "target": [3],
    },
    Label: {
        "column": NO_NAME,
        "kind": ["binry", "regresion", None],
        "weight": [-1, math.nan, math.inf, "2", True],
        "classes": [-1, 2.5, "3", True],
        "class_names": ["ab", [1], [""]],
        "true_values": ["yes", [True]],
        "false_values": ["no", [0]],
        "observed": [3],
        "standardize": ["yes", 1, None],
        "separator": [""],
    },
    TimeSplit: {"column": NO_NAME, "val": [True, math.nan, [1]], "test": [False, math.inf]},
    RandomSplit: {"val": NO_SHARE, "test": NO_SHARE, "seed": [-1, 1.5, "0", True, None, 2**63]},
    UserSplit: {
        "user": NO_NAME,
        "val": NO_SHARE,
        "test": NO_SHARE,
        "rounding": ["even", "Up", None],
        "seed": [-1, "0"],
    },
    GivenSplit: {"column": NO_NAME, "needed": ["train", [1], None]},
    Recipe: {
        "user": NO_NAME[:2],
        "ids": ["user", [3], {"a": 1}],
        "weight": [1.0],
        "columns": ["u", [Label("y")], None],
    },
}
NEEDED: dict[type, dict[str, Any]] = {
    CategoricalColumn: {"name": "c"},
    NumericColumn: {"name": "c"},
    SequenceColumn: {"name": "c"},
    Label: {"column": "c"},
    TimeSplit: {"column": "c", "val": 1, "test": 2},
    RandomSplit: {},
    UserSplit: {"user": "c"},
    GivenSplit: {},
    Recipe: {"columns": (CategoricalColumn("c"),), "labels": (Label("y"),)},
}
CASES = [(kind, name, value) for kind, options in WRONG.items() for name, values in options.items() for value in values]


@pytest.mark.parametrize(("kind", "name", "value"), CASES)
def test_a_value_that_is_not_allowed(kind: type, name: str, value: Any) -> None:
    assert kind(**NEEDED[kind])
    with pytest.raises(ValueError, match=rf"{kind.__name__}.*: {name}=.*; allowed are "):
        kind(**NEEDED[kind] | {name: value})


KINDS = {CategoricalColumn: "categorical", NumericColumn: "numeric", SequenceColumn: "sequence"}
SPLITS = {TimeSplit: "time", RandomSplit: "random", UserSplit: "user", GivenSplit: "column"}


@pytest.mark.parametrize(
    ("kind", "name", "value"), [case for case in CASES if case[0] is not Recipe and case[1] not in ("name", "kind")]
)
def test_the_same_in_a_description(kind: type, name: str, value: Any) -> None:
    """A table that is not there: it is answered before any file is looked for."""
    described: dict[str, Any] = {"train": "no.parquet", "features": {"c": "categorical"}, "labels": {"y": "binary"}}
    if kind in KINDS:
        described["features"] = {"c": {"kind": KINDS[kind], name: value}}
    elif kind is Label:
        described["labels"] = {"y": {"kind": "regression", name: value}}
    else:
        described["split"] = {"kind": SPLITS[kind], **NEEDED[kind], name: value}
    with pytest.raises(ValueError, match=rf"(features.c|labels.y|split): .*{name}=.*; allowed are "):
        TabularDataModule("nowhere", **described)


@pytest.mark.parametrize(
    ("value", "nearest"), [("Mean", "mean"), ("atention", "attention"), ("maximum", "max"), ("sums", "sum")]
)
def test_the_nearest_is_told(value: Any, nearest: str) -> None:
    with pytest.raises(ValueError, match=rf"allowed are 'mean', .*Did you mean '{nearest}'"):
        SequenceColumn("c", pooling=value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": ["u", "x"]}, r"features is \['u', 'x'\]; allowed is a mapping"),
        ({"features": "u"}, "features is 'u'; allowed is a mapping"),
        ({"features": {0: "categorical"}}, "features: column 0 is of type int; .*astype"),
        ({"features": {"u": 3}}, "features.u is 3; allowed is a kind"),
        ({"features": {"u": ["categorical"]}}, "features.u is .*; allowed is a kind"),
        ({"features": {"u": {"kind": "sequence", "pooling": "attention"}}}, "'attention' needs target="),
        ({"labels": ["y"]}, "labels is .*; allowed is a mapping"),
        ({"labels": {"y": {"kind": "multiclass", "classes": 1}}}, "classes=1"),
        ({"labels": {"y": {"kind": "binary", "classes": 3}}}, "classes=3"),
        ({"labels": {"u": "binary"}}, "features and labels at once"),
        ({"ids": "u"}, "ids='u'; allowed are lists of texts"),
        (
            {"features": {"number of the row": "numeric"}},
            r"columns \['number of the row'\] are called as what is noted",
        ),
        ({"labels": {"split of the file": "binary"}}, r"columns \['split of the file'\] are called as"),
        ({"weight": "file of the row"}, r"columns \['file of the row'\] are called as"),
        ({"batch_size": 64.0}, "batch_size=64.0; allowed are whole numbers >= 1"),
        ({"eval_batch_size": "64"}, "eval_batch_size='64'; allowed are whole"),
        ({"user": "x"}, r"user='x' is not one of the categorical features"),
        ({"split": "time"}, "split: .*missing"),
        ({"split": ["time"]}, "split is .*; allowed is a kind"),
        ({"split": {"kind": "random", "val": 0.5, "test": 0.5}}, "leave something for train"),
    ],
)
def test_a_wrong_shape_is_refused_before_any_file_is_read(changes: dict[str, Any], message: str) -> None:
    described: dict[str, Any] = {"features": {"u": "categorical"}, "labels": {"y": "binary"}} | changes
    for make in (
        lambda: TabularDataModule("nowhere", train="no.parquet", **described),
        lambda: TabularDataModule.from_frame(pl.DataFrame({"u": [1], "y": [1]}), **described),
    ):
        with pytest.raises(ValueError, match=message):
            make()  # type: ignore[no-untyped-call]  # a lambda
