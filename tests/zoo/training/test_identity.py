"""A trained model meets only data that mean the same, wherever it meets them, and brings others along with `like`."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import polars as pl
import pytest
import torch
from chosen_device import ACCELERATOR
from torch.utils.data import DataLoader

import mtlzoo
from mtlzoo import SharedBottom
from mtlzoo.datamodules import TabularDataModule
from mtlzoo.schema import FeatureSchema

FEATURES = {
    "user": "categorical",
    "item": "categorical",
    "price": "numeric",
    "age": {"kind": "numeric", "buckets": 4},
    "tags": {"kind": "sequence", "max_length": 2},
}
LABELS = {"click": "binary", "stars": "regression"}
SILENT: dict[str, Any] = {
    "accelerator": ACCELERATOR,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "max_steps": 2,
}
pytestmark = pytest.mark.filterwarnings("ignore")


def frame(**changes: pl.Expr) -> pl.DataFrame:
    numbers = range(300)
    return pl.DataFrame(
        {
            "user": [f"u{i % 9}" for i in numbers],
            "item": [f"i{i * 7 % 11}" for i in numbers],
            "price": [float(i % 23) for i in numbers],
            "age": [i % 50 for i in numbers],
            "tags": [f"{i % 3},{i % 5}" for i in numbers],
            "click": [i % 2 for i in numbers],
            "stars": [i % 5 for i in numbers],
            "split": [("train", "train", "train", "val", "test")[i % 5] for i in numbers],
        }
    ).with_columns(**changes)


def data(table: pl.DataFrame | None = None, **changes: Any) -> TabularDataModule:
    options: dict[str, Any] = {"features": FEATURES, "labels": LABELS, "split": "column", "user": "user"}
    return TabularDataModule.from_frame(frame() if table is None else table, **{**options, "batch_size": 64, **changes})


def model_of(module: TabularDataModule) -> SharedBottom:
    return SharedBottom(module.schema, embedding_dim=2)


def trainer() -> L.Trainer:
    return L.Trainer(**SILENT)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a plain Trainer, no run folder about it."""
    path: Path = tmp_path_factory.mktemp("plain") / "model.ckpt"
    fitting = trainer()
    module = data()
    fitting.fit(model_of(module), module)
    fitting.save_checkpoint(path)
    return path


IN_TRAIN = {
    "another vocabulary of the same size": ({"user": pl.col("user").str.replace("u", "v")}, "ids.*table 'user'"),
    "the same ids, others frequent": ({"user": pl.col("user").reverse()}, "ids.*table 'user'"),
    "another scale": ({"price": pl.col("price") * 100}, "numbers.*column 'price'"),
    "other edges": ({"age": pl.col("age") + 1}, "numbers.*column 'age'"),
    "other tags": ({"tags": pl.lit("7,8")}, "columns.*like="),
    "labels on another scale": ({"stars": pl.col("stars") * 2}, "columns.*like="),
}
MEETINGS: dict[str, Callable[[L.Trainer, Any, TabularDataModule, Path], Any]] = {
    "fit": lambda trainer, model, module, path: trainer.fit(model, module),
    "validate": lambda trainer, model, module, path: trainer.validate(model, module),
    "test": lambda trainer, model, module, path: trainer.test(model, module),
    "predict": lambda trainer, model, module, path: trainer.predict(model, module),
    "resume": lambda trainer, model, module, path: trainer.fit(model_of(module), module, ckpt_path=path),
    "test a file": lambda trainer, model, module, path: trainer.test(model_of(module), module, ckpt_path=path),
    "predict a file": lambda trainer, model, module, path: trainer.predict(model_of(module), module, ckpt_path=path),
    "fit a loader": lambda trainer, model, module, path: trainer.fit(model, module.train_dataloader()),
    "validate a loader": lambda trainer, model, module, path: trainer.validate(model, module.val_dataloader()),
    "test loaders": lambda trainer, model, module, path: trainer.test(model, [module.test_dataloader()]),
    "predict a loader": lambda trainer, model, module, path: trainer.predict(model, module.predict_dataloader()),
}


@pytest.mark.parametrize(("change", "said"), IN_TRAIN.values(), ids=IN_TRAIN.keys())
def test_data_of_another_train_split_are_refused(checkpoint: Path, change: dict[str, pl.Expr], said: str) -> None:
    """Rows of validation and test are the same; only what was learned of train differs."""
    in_train = {
        name: pl.when(pl.col("split") == "train").then(value).otherwise(pl.col(name)) for name, value in change.items()
    }
    with pytest.raises(ValueError, match=f"(?s)SharedBottom was .*{said}"):
        trainer().test(mtlzoo.load(checkpoint), data(frame(**in_train)))


@pytest.mark.parametrize("meet", MEETINGS.values(), ids=MEETINGS.keys())
@pytest.mark.parametrize("change", [{"price": pl.col("price") + 1}, {"item": pl.col("item") + "x"}])
def test_they_are_refused_wherever_they_meet(checkpoint: Path, meet: Any, change: dict[str, pl.Expr]) -> None:
    with pytest.raises(ValueError, match=r"mean other values.*like=.*--data\.like"):
        meet(trainer(), mtlzoo.load(checkpoint), data(frame(**change)), checkpoint)


@pytest.mark.parametrize("meet", MEETINGS.values(), ids=MEETINGS.keys())
def test_data_of_the_same_train_split_are_welcome(checkpoint: Path, meet: Any) -> None:
    """Other rows of test and validation, unknown values and other numbers among them; other ids; another place."""
    later = pl.col("split") != "train"
    changes = {
        name: pl.when(later).then(pl.lit(value)).otherwise(pl.col(name))
        for name, value in (("user", "new"), ("price", 1e6))
    }
    other = data(frame(**changes), ids=["split"])
    assert other.folder != data().folder
    meet(trainer(), mtlzoo.load(checkpoint), other, checkpoint)


def test_a_model_remembers_what_this_process_trained_it_on() -> None:
    module = data()
    model = model_of(module)
    trainer().fit(model, module.train_dataloader(), module.val_dataloader())
    trainer().test(model, module)
    other = data(frame(price=pl.col("price") * 2))
    for meet in ("fit", "validate", "test", "predict"):
        with pytest.raises(ValueError, match="numbers mean other values"):
            getattr(trainer(), meet)(model, other)


SCHEMAS: dict[str, dict[str, Any]] = {
    "features swapped": {"features": dict(reversed(FEATURES.items()))},
    "a table renamed": {"features": {**FEATURES, "item": {"kind": "categorical", "table": "things"}}},
    "a feature fewer": {"features": {name: FEATURES[name] for name in ("user", "item", "price", "age")}},
    "another kind": {"features": {**FEATURES, "age": "numeric"}},
    "another user": {"user": "item"},
    "another group": {"group": "item"},
    "an item": {"item": "item"},
    "tasks swapped": {"labels": dict(reversed(LABELS.items()))},
    "a task renamed": {"labels": {"click": {"kind": "binary", "name": "tap"}, "stars": "regression"}},
    "another kind of task": {"labels": {"click": "regression", "stars": "regression"}},
}


@pytest.mark.parametrize("changes", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_other_columns_are_refused_trained_or_not(checkpoint: Path, changes: dict[str, Any]) -> None:
    for model in (mtlzoo.load(checkpoint), model_of(data())):
        with pytest.raises(ValueError, match="made for data with other columns"):
            trainer().test(model, data(**changes))


@pytest.mark.parametrize("changes", SCHEMAS.values(), ids=SCHEMAS.keys())
@pytest.mark.parametrize("meet", ["fit", "test"])
def test_weights_are_not_put_into_a_model_of_other_columns(
    checkpoint: Path, changes: dict[str, Any], meet: str
) -> None:
    """Made for the data that it meets, of weights that fit by name and size, so that no input is where it was."""
    other = data(**changes)
    with pytest.raises(ValueError, match=r"made for data with other columns|mean other values"):
        getattr(trainer(), meet)(model_of(other), datamodule=other, ckpt_path=checkpoint)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "value"), [("stars", pl.col("stars") * 2), ("user", pl.concat_str(pl.lit("u"), pl.col("age")))]
)
def test_what_was_learned_is_brought_along(checkpoint: Path, column: str, value: pl.Expr) -> None:
    """Another number of users or scale of labels is another train split, and no other column."""
    other = data(frame(**{column: value}))
    assert other.schema != data().schema
    for model in (mtlzoo.load(checkpoint), model_of(other)):
        with pytest.raises(
            ValueError, match=rf"(?s)(other columns.*another train split|mean other values.*{column}).*like="
        ):
            trainer().test(model, other, ckpt_path=None if model.trained_on else checkpoint)
    trainer().test(mtlzoo.load(checkpoint), data(frame(**{column: value}), like=checkpoint))


def test_what_a_model_chooses_is_its_own() -> None:
    """Weights of tasks and the pooling of sequences, which the data only suggest."""
    module = data()
    schema = module.schema
    chosen = replace(
        schema,
        tasks=tuple(replace(task, weight=0.5) for task in schema.tasks),
        features=tuple(replace(f, pooling="max") if f.kind == "sequence" else f for f in schema.features),
    )
    trainer().test(SharedBottom(chosen, embedding_dim=2), module)


def test_checkpoints_of_earlier_versions_are_compared_by_what_they_hold(checkpoint: Path, tmp_path: Path) -> None:
    saved = torch.load(checkpoint, weights_only=True)
    path = tmp_path / "early.ckpt"
    saved["mtlzoo_data"] = {name: saved["mtlzoo_data"][name] for name in ("fingerprint", "vocabulary")}
    torch.save(saved, path)
    trainer().test(mtlzoo.load(path), data())
    trainer().test(mtlzoo.load(path), data(frame(price=pl.col("price") * 2)))  # it does not know
    trainer().fit(model_of(data()), data(), ckpt_path=path)
    with pytest.raises(ValueError, match="ids mean other values"):
        trainer().test(mtlzoo.load(path), data(frame(user=pl.col("user") + "x")))
    del saved["mtlzoo_data"]
    torch.save(saved, path)
    trainer().test(mtlzoo.load(path), data(frame(user=pl.col("user") + "x")))


def test_foreign_loaders_pass(checkpoint: Path) -> None:
    batches = list(data(frame(price=pl.col("price") * 2)).test_dataloader())
    trainer().test(mtlzoo.load(checkpoint), DataLoader(batches, batch_size=None))  # type: ignore[arg-type]


def test_like_brings_data_along(checkpoint: Path) -> None:
    """Another train split, other rows of test: encoded as in the training, so the same rows give the same metrics."""
    changed = frame(price=pl.when(pl.col("split") == "train").then(pl.col("price") * 100).otherwise(pl.col("price")))
    (expected,) = trainer().test(mtlzoo.load(checkpoint), data())
    (found,) = trainer().test(mtlzoo.load(checkpoint), data(changed, like=checkpoint))
    assert found == expected
    model = mtlzoo.load(checkpoint)
    trainer().fit(model, data(changed, like=checkpoint))  # goes on with new rows
    trainer().test(model, data())


def test_like_of_a_checkpoint_checks_what_it_finds(checkpoint: Path, tmp_path: Path) -> None:
    """The folder that a plain Trainer's checkpoint notes may hold other data by now, or be gone."""
    own = tmp_path / "prepared"
    module = data(prepared=own)
    fitting = trainer()
    fitting.fit(model_of(module), module)
    fitting.save_checkpoint(tmp_path / "model.ckpt")
    assert data(like=tmp_path / "model.ckpt").schema == module.schema
    other = data(frame(user=pl.col("user") + "x"), prepared=own)
    assert other.schema
    shutil.rmtree(module.folder)
    shutil.copytree(other.folder, module.folder)
    with pytest.raises(ValueError, match="belong to another training"):
        data(like=tmp_path / "model.ckpt")
    shutil.rmtree(module.folder)
    with pytest.raises(FileNotFoundError, match=r"encoding\.json in .*prepare its data again"):
        data(like=tmp_path / "model.ckpt")


def test_schemas_that_differ_in_nothing_but_ids_are_one(checkpoint: Path) -> None:
    model = mtlzoo.load(checkpoint)
    assert FeatureSchema.from_dict({**model.schema.to_dict(), "ids": ["split"]}) == data(ids=["split"]).schema
