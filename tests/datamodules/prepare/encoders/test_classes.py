"""Classes that have names: given or learned from train, in all kinds of file."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from mtlzoo import SharedBottom
from mtlzoo.datamodules import DataError, TabularDataModule
from mtlzoo.datamodules.columns import Label
from mtlzoo.schema import FeatureSchema
from mtlzoo.tasks import Task

NAN = float("nan")


def tabled(folder: Path, train: list[Any], test: list[Any], suffix: str, **label: Any) -> TabularDataModule:
    described: dict[str, Any] = {"features": {"x": "numeric"}, "labels": {"y": {"kind": "multiclass", **label}}}
    frames = [pl.DataFrame({"x": range(len(y)), "y": y}, strict=False) for y in (train, test)]
    if suffix == "frame":
        return TabularDataModule.from_frame(*frames, **described)
    for frame, name in zip(frames, ("train", "val"), strict=True):
        path = folder / f"{name}{suffix}"
        frame.fill_nan(None).write_csv(path) if suffix == ".csv" else frame.write_parquet(path)
    return TabularDataModule(folder, train=f"train{suffix}", val=f"val{suffix}", **described)


@pytest.mark.filterwarnings("ignore:TabularDataModule. the label 'y' is:mtlzoo.datamodules.errors.DataWarning")
@pytest.mark.parametrize("suffix", [".csv", ".parquet", "frame"])
@pytest.mark.parametrize(
    ("values", "names", "places"),
    [
        (["b", "a", "c", None], ("a", "b", "c"), [1, 0, 2, NAN]),
        (["10", "9", "", "10"], ("9", "10"), [1, 0, NAN, 1]),
        ([10, 9, None, 11], ("9", "10", "11"), [1, 0, NAN, 2]),
        ([7.0, NAN, 3.0, 7.0], ("3", "7"), [1, NAN, 0, 1]),
        ([-1, 0, 1, None], ("-1", "0", "1"), [0, 1, 2, NAN]),
    ],
)
def test_names_are_learned_from_train(values: Any, names: Any, places: Any, suffix: str, tmp_path: Path) -> None:
    data = tabled(tmp_path, values, values[:2], suffix)
    (task,) = data.schema.tasks
    assert (task.classes, task.class_names) == (len(names), names)
    assert str(data.data["train"]["labels"].flatten().tolist()) == str([float(place) for place in places])
    assert set(data.data.manifest["label_rates"]["train"]["y"]) == set(names)
    assert FeatureSchema.from_dict(json.loads(json.dumps(data.schema.to_dict()))) == data.schema
    assert SharedBottom(data.schema)(dict(data.data["train"]))["y"].shape == (4, len(names))


@pytest.mark.filterwarnings(
    "ignore:TabularDataModule. the label 'y' is 2 in every row of val:mtlzoo.datamodules.errors.DataWarning"
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet", "frame"])
def test_names_are_given_in_their_order(suffix: str, tmp_path: Path) -> None:
    data = tabled(tmp_path, ["ok", "bad", None], ["good"], suffix, class_names=["bad", "ok", "good"])
    assert data.schema.tasks[0].class_names == ("bad", "ok", "good")
    assert data.data["train"]["labels"].flatten().tolist()[:2] == [1, 0]
    assert data.data["val"]["labels"].flatten().tolist() == [2]


@pytest.mark.parametrize(
    ("train", "test", "label", "message"),
    [
        (["a", "b"], ["c"], {}, "Column 'y': found 'c'; allowed is one of the classes 'a', 'b', .* class_names"),
        (
            ["a", "b", "d"],
            ["a"],
            {"class_names": ["a", "b"]},
            "Column 'y', row 3: found 'd'; allowed is one of .* 'a', 'b'",
        ),
        (["a", "a"], ["a"], {}, r"has 1 classes in train, \['a'\]"),
        ([None, None], ["a"], {}, "has 0 classes in train"),
        (["a", "b"], ["a"], {"classes": 2}, "'a'.*(expected double.*class_names|allowed is a number)"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", "frame"])
def test_what_is_no_class(train: Any, test: Any, label: Any, message: str, suffix: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        tabled(tmp_path, train, test, suffix, **label).prepare_data()


@pytest.mark.parametrize(
    "values",
    [[date(2024, 5, 1), date(2024, 5, 2)], [True, False], [timedelta(1), timedelta(2)], [b"a"] * 2, [[1], [2]]],
)
def test_what_names_no_class(values: list[Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Column 'y' holds .*[tT]ext"):
        tabled(tmp_path, values, values, "frame").prepare_data()


HOT = {"lists": [[1, 2], [0, 1, 1]], "arrays": np.array([[0, 1, 1], [1, 0, 0]]), "booleans": [[True, False, True]] * 2}


@pytest.mark.parametrize("values", [*HOT.values(), ["2", "[0, 1, 0]"], ["1", "0,0,0"]])
def test_classes_are_not_a_number_for_every_class(values: Any) -> None:
    table = pl.DataFrame({"x": [0, 1], "y": values})
    with pytest.raises(DataError, match=r"Column 'y', row [12]: found '\[[01], [01], [01]\]'; allowed is the numbers"):
        TabularDataModule.from_frame(
            table, table, features={"x": "categorical"}, labels={"y": {"kind": "multilabel", "classes": 3}}
        ).prepare_data()


def test_declarations_that_contradict_themselves() -> None:
    for label in ({"kind": "binary"}, {"kind": "multiclass", "classes": 2}, {"kind": "multilabel"}):
        with pytest.raises(ValueError, match=r"class_names=.* allowed are different names"):
            Label("y", class_names=("a", "b"), **label)
    with pytest.raises(ValueError, match="allowed are different names"):
        Label("y", kind="multiclass", class_names=("a", "a"))
    with pytest.raises(ValueError, match="1 class_names with classes=2"):
        Task("y", "multiclass", classes=2, class_names=("a",))
