"""What is printed of everything public is one useful line; nothing is read or prepared for it."""

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import mtlzoo
from mtlzoo.callbacks import GradientSurgery, LossBalancing, ParquetPredictions, PCGrad, rules
from mtlzoo.callbacks.rules.base import GradientRule, GramianRule, LossRule
from mtlzoo.datamodules import MultiTaskDataModule, Synthetic, TabularDataModule
from mtlzoo.datamodules.columns import CategoricalColumn, Label, Recipe
from mtlzoo.metrics import TaskMetrics
from mtlzoo.schema import Categorical, FeatureSchema
from mtlzoo.tasks import Task

TASK = Task("genre", "multilabel", classes=3)
GIVEN: dict[str, Any] = {
    "root": "data/here",
    "rule": rules.PCGrad(),
    "weights": [1.0, 2.0],
    "folder": "out",
    "task": TASK,
    "classes": 3,
    "kind": "binary",
    "train": "x.csv",
    "features": {"u": "categorical"},
    "labels": {"y": "binary"},
    "name": "x",
    "column": "x",
    "max_length": 3,
    "val": 0.1,
    "test": 0.2,
    "user": "u",
    "cardinality": 3,
    "of": "user",
    "tasks": (TASK,),
}
"""Arguments that have no default, and those that data modules want."""


def public() -> Iterator[type]:
    for name in ("mtlzoo", "mtlzoo.datamodules", "mtlzoo.callbacks", "mtlzoo.callbacks.rules", "mtlzoo.metrics"):
        module = importlib.import_module(name)
        for each in module.__all__:
            kind = getattr(module, each)
            if inspect.isclass(kind) and not issubclass(kind, BaseException | mtlzoo.MultiTaskModule):
                yield kind
    yield from (kind for kind in vars(importlib.import_module("mtlzoo.schema")).values() if _of_schema(kind))


def _of_schema(kind: object) -> bool:
    return inspect.isclass(kind) and kind.__module__ == "mtlzoo.schema"


def _name(kind: Any) -> str:
    return str(kind.__name__)


def made(kind: type) -> Any:
    given = GIVEN
    if kind is FeatureSchema:
        given = GIVEN | {"features": (Categorical("u", 3),)}
    elif kind is Recipe:
        given = GIVEN | {"columns": (CategoricalColumn("u"),), "labels": (Label("y"),)}
    elif kind is LossBalancing:
        given = GIVEN | {"rule": rules.UW()}
    wanted = {"root", "train", "features", "labels"} if kind is TabularDataModule else {"root"}
    arguments = {
        name: given[name]
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and (parameter.default is parameter.empty or name in wanted)
    }
    return kind(**arguments)


@pytest.mark.parametrize("kind", sorted({*public()}, key=_name), ids=_name)
def test_everything_public_is_one_line(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MultiTaskDataModule, "_prepare", lambda self: pytest.fail("prepared"))
    if inspect.isabstract(kind) or kind in (GramianRule, GradientRule, LossRule) or issubclass(kind, tuple):
        pytest.skip("made by subclasses, or plain")
    for text in (repr(made(kind)), str(made(kind))):
        assert text.startswith(kind.__name__ + "(")
        assert "\n" not in text
        assert " at 0x" not in text
        assert len(text) < 400
        if issubclass(kind, MultiTaskDataModule) and kind is not Synthetic:
            assert "data/here" in text


def test_options_that_are_not_the_usual_ones_are_shown() -> None:
    assert repr(PCGrad()) == "PCGrad()"
    assert repr(rules.Fixed([1, 2])).startswith("Fixed(weights=[1")
    surgery = GradientSurgery(PCGrad(order="fixed"), level="row")
    assert repr(surgery) == "GradientSurgery(rule=PCGrad(order='fixed'), level='row')"
    assert repr(ParquetPredictions("out")) in ("ParquetPredictions(folder=PosixPath('out'))",)
    assert str(Synthetic(rows=7, tasks=2)).startswith("Synthetic(")
    assert "rows=7" in repr(Synthetic(rows=7, tasks=2))
    assert repr(TaskMetrics(TASK)).startswith("TaskMetrics(genre (multilabel): logloss, auc")


def test_a_table_its_schema_splits_and_loaders_are_one_line_each(tmp_path: Path) -> None:
    frame = pl.DataFrame({"u": [1, 2, 1, 2], "x": [1.0, 2.0, 3.0, 4.0], "y": [0, 1, 1, 0]})
    features = {"u": "categorical", "x": "numeric"}
    data = TabularDataModule.from_frame(
        frame, frame, frame, prepared=tmp_path, features=features, labels={"y": "binary"}, user="u", batch_size=2
    )
    assert "features=['u', 'x'], labels=['y'], user='u'" in repr(data)
    assert not list(tmp_path.glob("TabularDataModule-*"))
    assert repr(data.schema) == "FeatureSchema(1 categorical; 1 numeric; tasks: y (binary); user: u; group: u)"
    assert repr(data.data).endswith(": train 4, val 4, test 4)")
    assert repr(data.encoding) == f"Encoding({str(data.folder)!r}: of {data.folder.name})"
    assert repr(data.data["train"]).endswith("4 rows of categorical [1], group [], labels [1], numeric [1])")
    assert repr(data.train_dataloader()) == "BatchLoader(4 rows in 2 batches of 2, shuffled by seed 0)"
    assert repr(data.val_dataloader()).startswith("BatchLoader(4 rows in")
