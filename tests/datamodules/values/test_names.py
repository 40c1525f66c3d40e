"""Any name works, or is refused by name before anything is read."""

from pathlib import Path
from typing import Any

import lightning as L
import polars as pl
import pytest
import torch
from torch import nn

from mtlzoo import MMoE, load
from mtlzoo.callbacks import ParquetPredictions
from mtlzoo.datamodules import TabularDataModule
from mtlzoo.datamodules.columns import CategoricalColumn, Label, Recipe, SequenceColumn
from mtlzoo.datamodules.values.names import LONGEST, file_stem, name_of
from mtlzoo.layers import module_keys
from mtlzoo.schema import RESERVED, Categorical, FeatureSchema, Links, Sequence
from mtlzoo.tasks import Task

ODD = (
    *("items", "keys", "values", "type", "training", "forward", "pop", "update", "_modules", "T_destination"),
    *(
        "a.b",
        "hist.items",
        ".",
        "..",
        ".hidden",
        "a/b",
        "../a",
        "/etc",
        "a\\b",
        "a b",
        " ",
        "ß é 用户 🙂",
        "100%",
        "%2F",
    ),
    *("_", "__init__", "tab\t", "line\n", "'", '"', "{x}", "CON", "user", "seen", "label y", "x" * LONGEST),
)
LONG = "x" * (LONGEST + 1)


def described(name: str, *, task: str = "y", **options: Any) -> dict[str, Any]:
    sequence = {"kind": "sequence", "max_length": 2, "pooling": "attention", "target": "item", **options}
    return {"features": {"item": "categorical", name: sequence}, "labels": {"y": {"kind": "binary", "name": task}}}


def frame(name: str) -> pl.DataFrame:
    return pl.DataFrame({"item": ["1", "2", "3"] * 2, name: ["1,2", "3", "2"] * 2, "y": [1, 0, 1, 0, 1, 0]})


@pytest.mark.parametrize("name", ODD)
def test_a_sequence_of_any_name_is_prepared_and_trained(tmp_path: Path, name: str) -> None:
    table = frame(name)
    data = TabularDataModule.from_frame(table, table, table, prepared=tmp_path, **described(name))
    assert data.data["train"][name].tolist() == [[3, 2], [4, 0], [2, 0]] * 2
    assert data.data.manifest["unknown_rates"]["train"] == {"item": 0.0, name: 0.0}
    model = MMoE(data.schema, experts=2)
    batch = next(iter(data.train_dataloader()))
    model(batch)["y"].sum().backward()
    other = MMoE(data.schema, experts=2)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(batch), model(batch))
    for path, module in model.named_modules():
        assert model.get_submodule(path) is module
    for path in model.state_dict():
        assert model.get_submodule(path.rpartition(".")[0]) is not None
    made = data.folder.name
    assert {path.name for path in tmp_path.iterdir()} == {made, f"{made}.lock", "frames"}


@pytest.mark.parametrize("name", ODD)
def test_a_table_and_a_task_of_any_name_keep_theirs(tmp_path: Path, name: str) -> None:
    table = frame("tags")
    task = name if "/" not in name else "y"
    description = described("tags", task=task, table=name)
    data = TabularDataModule.from_frame(table, table, table, prepared=tmp_path, ids=["item"], **description)
    assert name in data.schema.tables
    assert data.data.manifest["label_rates"]["train"] == {task: 0.5}
    assert pl.read_parquet(data.folder / "vocabulary" / f"{file_stem(name)}.parquet")["value"].len() == 3
    out = tmp_path / "predictions"
    writer = ParquetPredictions(out, data.data["test"].ids)
    options: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    L.Trainer(accelerator="cpu", callbacks=[writer], **options).predict(
        MMoE(data.schema, experts=2), data, return_predictions=False
    )
    assert set(pl.read_parquet(out).columns) == {"row", "item", task}


def test_names_as_files_are_names_again() -> None:
    stems = [file_stem(name) for name in ODD]
    assert [name_of(stem) for stem in stems] == list(ODD)
    assert len(set(stems)) == len(ODD)
    assert not [stem for stem in stems if set(stem) & set('/\\\x00:*?"<>|') or stem.startswith(".")]
    assert file_stem("watch_time 用户") == "watch_time 用户"


@pytest.mark.parametrize(
    ("sequence", "task", "ids", "message"),
    [
        *((name, "y", (), f"a sequence may not be named '{name}'") for name in sorted(RESERVED)),
        ("tags", "row", (), "a task may not be named 'row', as the number of the row"),
        ("tags", "user", (), "a task may not be named 'user', as a column that names rows"),
        ("tags", "item", (), "a task may not be named 'item', as a column that names rows"),
        ("tags", "session", ("session",), "a task may not be named 'session', as a column that names rows"),
        ("tags", "a/b", (), "'a/b': must not be empty and must not hold '/'"),
        ("friends", "y", (), "links and a sequence are both named 'friends'"),
    ],
)
def test_names_that_would_meet_others_are_refused_by_name(
    sequence: str, task: str, ids: tuple[str, ...], message: str
) -> None:
    links = (Links("friends", "user"),)
    with pytest.raises(ValueError, match=message):
        FeatureSchema(
            (Categorical("user", 3), Categorical("item", 3), Sequence(sequence, 3, 2)),
            (Task(task),),
            user="user",
            item="item",
            ids=ids,
            links=links,
        )
    columns = (CategoricalColumn("user"), CategoricalColumn("item"), SequenceColumn(sequence, 2))
    with pytest.raises(ValueError, match=message):
        Recipe(columns, (Label("y", name=task),), user="user", item="item", ids=ids, links=links)


@pytest.mark.parametrize(
    ("name", "message"),
    [(LONG, f"'xxx.*': a name of {LONGEST + 1} characters; rename it"), ("a\x00b", "may not hold the character NUL")],
)
@pytest.mark.parametrize("role", ["feature", "table", "task", "ids", "weight", "group"])
def test_a_name_that_nothing_can_be_called_by_is_refused_before_anything_is_read(
    name: str, message: str, role: str
) -> None:
    description = described(
        name if role == "feature" else "tags",
        task=name if role == "task" else "y",
        table=name if role == "table" else "",
    )
    description |= {"ids": [name]} if role == "ids" else {role: name} if role in ("weight", "group") else {}
    with pytest.raises(ValueError, match=message):
        TabularDataModule("nowhere", train="x.csv", **description)


def test_keys_of_modules_are_the_names_where_those_worked() -> None:
    names = ["tags", "a%b%", "items", "items%", "a.b", "a%b", "", "%"]
    keys = module_keys(names)
    assert {name: keys[name] for name in ("tags", "a%b%", "items%", "a%b", "%")} == {
        name: name for name in ("tags", "a%b%", "items%", "a%b", "%")
    }
    assert len(set(keys.values())) == len(names)
    modules = nn.ModuleDict({key: nn.Identity() for key in keys.values()})
    assert len(modules) == len(names)


def test_checkpoints_of_usual_names_keep_their_keys(tmp_path: Path) -> None:
    table = frame("history")
    data = TabularDataModule.from_frame(table, table, table, prepared=tmp_path, **described("history"))
    model = MMoE(data.schema, experts=2)
    assert "embedding.attention.history.mlp.0.weight" in model.state_dict()
    options: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(accelerator="cpu", max_epochs=1, default_root_dir=tmp_path, **options)
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    assert set(load(tmp_path / "x.ckpt").state_dict()) == set(model.state_dict())
