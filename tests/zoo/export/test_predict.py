"""`predict`: raw rows in, a column per task out, bit for bit what `mtlzoo predict` writes."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from answering import DESCRIBED

import mtlzoo
from fixtures import kuairand
from fixtures.friends import Friends
from mtlzoo import MMoE, MultiTaskModule, PMTRec
from mtlzoo.cli import main
from mtlzoo.datamodules import DataError, DataWarning
from mtlzoo.datamodules.base import MultiTaskDataModule

TASKS = ["click", "stars", "kind", "genres"]


def same(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Names, types and every bit."""
    assert found.schema == expected.schema
    for name in expected.columns:
        assert found[name].to_numpy().tobytes() == expected[name].to_numpy().tobytes(), name


@pytest.mark.parametrize("source", ["checkpoint", "exported"])
@pytest.mark.every_case
def test_it_is_mtlzoo_predict_bit_for_bit(answering: SimpleNamespace, source: str) -> None:
    assert answering.predicted["row"].to_list() == list(range(500))
    model = mtlzoo.load(getattr(answering, source))
    found = model.predict(answering.new.drop("request"))
    assert found.columns == TASKS
    same(found, answering.predicted.select(TASKS))
    assert found["click"].dtype == pl.Float32
    assert found["stars"].dtype == pl.Float64
    assert found["kind"].dtype == pl.Array(pl.Float32, 3)
    assert found["click"].n_unique() > 400


def test_the_run_alone_is_enough(answering: SimpleNamespace, tmp_path: Path) -> None:
    """And nothing is written."""
    model = mtlzoo.load(answering.exported)
    before = sorted(tmp_path.rglob("*"))
    model.predict(answering.new)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_answer_is_of_the_kind_of_the_question(answering: SimpleNamespace) -> None:
    model, new = mtlzoo.load(answering.exported), answering.new
    expected = answering.predicted.select(TASKS)
    same(model.predict(new.lazy()).collect(), expected)
    arrow = model.predict(new.to_arrow())
    assert isinstance(arrow, pa.Table)
    same(pl.DataFrame(pl.from_arrow(arrow)), expected)
    (batch,) = new.to_arrow().combine_chunks().to_batches()
    assert isinstance(model.predict(batch), pa.RecordBatch)
    assert model.predict(batch).equals(arrow.combine_chunks().to_batches()[0])
    columns = model.predict(new.to_dict(as_series=False))
    assert list(columns) == TASKS
    assert columns["click"] == expected["click"].to_list()
    assert columns["kind"] == expected["kind"].to_list()
    listed = model.predict(new.to_dicts())
    assert listed == expected.to_dicts()
    table = new.to_pandas().set_index("request")
    frame = model.predict(table)
    assert isinstance(frame, pd.DataFrame)
    assert frame.index.equals(table.index)
    assert frame["stars"].tolist() == expected["stars"].to_list()
    np.testing.assert_array_equal(np.stack(frame["genres"].tolist()), expected["genres"].to_numpy())
    shuffled = frame.loc[frame.index[::-1]].index
    again = model.predict(table.loc[shuffled])
    np.testing.assert_allclose(again.loc[table.index, "click"], frame["click"], rtol=0, atol=1e-6)


def test_one_row_none_and_many_batches(answering: SimpleNamespace) -> None:
    model, new = mtlzoo.load(answering.exported), answering.new
    none = model.predict(new[:0])
    assert none.schema == answering.predicted.select(TASKS).schema
    assert len(none) == 0
    assert model.predict([]) == []
    (one,) = model.predict([new.row(7, named=True)])
    assert one["click"] == pytest.approx(answering.predicted["click"][7], abs=1e-6)
    many = model.predict(pl.concat([new] * 30))
    assert len(many) == 15_000
    np.testing.assert_allclose(many["click"].to_numpy().reshape(30, -1)[29], answering.predicted["click"], atol=1e-6)


def test_the_model_is_left_as_it_was_and_may_be_copied(answering: SimpleNamespace) -> None:
    model = mtlzoo.load(answering.exported).train()
    same(model.predict(answering.new), answering.predicted.select(TASKS))
    assert model.training
    assert not any(weight.grad is not None or weight.is_inference() for weight in model.parameters())
    same(deepcopy(model).predict(answering.new), answering.predicted.select(TASKS))


def test_every_question_stands_alone(answering: SimpleNamespace) -> None:
    """Types of one are not those of the next, and threads may ask at once."""
    model, new = mtlzoo.load(answering.exported), answering.new
    expected = answering.predicted.select(TASKS)
    texts = new.with_columns(pl.col("item_id", "price", "age").cast(pl.String))
    same(model.predict(texts), expected)
    same(model.predict(new.with_columns(pl.col("item_id").cast(pl.Float64))), expected)
    same(model.predict(new.with_columns(pl.col("user_id").cast(pl.Categorical))), expected)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(model.predict, [new, texts] * 8):
            same(found, expected)


def test_unseen_and_missing_values_are_those_of_the_training(answering: SimpleNamespace) -> None:
    model = mtlzoo.load(answering.exported)
    known = answering.new.drop_nulls()[:1]
    click = [model.predict(known.with_columns(user_id=pl.lit(user, pl.String)))["click"][0] for user in ("0001", None)]
    strange = known.with_columns(user_id=pl.lit("x"))
    assert model.predict(strange)["click"][0] == click[1] != click[0]
    with pytest.warns(DataWarning, match=r"predict: 100% of the ids of 'user_id' in predict are unknown, 'x' for"):
        model.predict(pl.concat([strange] * 40))  # of one row they may well be
    empty = {name: [None] for name in known.columns}
    assert 0 < model.predict(empty)["click"][0] < 1


BROKEN: dict[str, Any] = {
    "missing": lambda new: new.drop("price", "tags"),
    "misspelt": lambda new: new.rename({"price": "prize"}),
    "no number": lambda new: new.with_columns(price=pl.lit("cheap")),
    "infinite": lambda new: new.with_columns(price=pl.lit(float("inf"))),
    "too large": lambda new: new.with_columns(price=pl.lit(1e300)),
    "a list": lambda new: new.with_columns(user_id=pl.concat_list("user_id")),
    "no list": lambda new: new.with_columns(past=pl.lit(7)),
    "a time": lambda new: new.with_columns(item_id=pl.lit("2024-01-01").str.to_date()),
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.every_case
def test_what_is_wrong_is_said_as_mtlzoo_predict_does(answering: SimpleNamespace, tmp_path: Path, how: str) -> None:
    wrong = BROKEN[how](answering.new)
    wrong.write_parquet(path := tmp_path / "wrong.parquet")
    with pytest.raises(DataError) as told:
        main(["predict", "-c", str(answering.run / "config.yaml"), "--data.predict", str(path)])
    with pytest.raises(DataError) as found:
        mtlzoo.load(answering.exported).predict(wrong.drop("request"))
    said = str(told.value).replace(str(path), "predict").replace("['request', ", "[")
    assert str(found.value) == said


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (7, "predict is int; allowed is a table"),
        ("new.csv", r"predict is str; allowed is a table.*one per row\)\.$"),  # of a file, `mtlzoo predict` asks
        (dict.fromkeys(DESCRIBED["features"], "1"), "predict: column 'user_id' is '1'; a column is a list"),
        ([{"user_id": "1"}], r"predict: no column \['item_id', 'city', 'price', 'age', 'tags', 'past'\]"),
        ([{}], r"predict: no column \['user_id'"),
    ],
)
@pytest.mark.every_case
def test_what_is_no_table_is_refused(answering: SimpleNamespace, rows: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        mtlzoo.load(answering.exported).predict(rows)


def test_an_encoding_of_other_data_is_refused(answering: SimpleNamespace, tmp_path: Path) -> None:
    model = mtlzoo.load(answering.checkpoint)
    model.loaded_from = None
    assert model.trained_on is not None
    model.trained_on = {**model.trained_on, "vocabulary": "another"}
    with pytest.raises(DataError, match="belong to another training"):
        model.predict(answering.new)
    model.trained_on = {**model.trained_on, "folder": str(tmp_path)}
    with pytest.raises(FileNotFoundError, match=r"MMoE: no encoding\.json in"):
        model.predict(answering.new)


def test_a_folder_that_is_gone_since_is_named(answering: SimpleNamespace, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(answering.exported, tmp_path / "a" / "b" / "m"))
    model = mtlzoo.load(folder)
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError, match=f"{folder}: no encoding.json in {folder / 'encoding'} or "):
        model.predict(answering.new)


def fit(model: MultiTaskModule, data: MultiTaskDataModule) -> L.Trainer:
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data)
    return trainer


def expected_of(trainer: L.Trainer, model: MultiTaskModule, data: MultiTaskDataModule) -> dict[str, Any]:
    batches: Any = trainer.predict(model, data)
    return {name: torch.cat([batch[name] for batch in batches]).numpy() for name in batches[0]}


@pytest.mark.filterwarnings("ignore:.*ids of.*are unknown|.*has one value:mtlzoo.datamodules.errors.DataWarning")
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_published_data_set_and_a_model_that_was_just_trained(tmp_path: Path) -> None:
    data = kuairand.build(tmp_path / "raw", prepared=tmp_path / "prepared")
    model = MMoE(data.schema, embedding_dim=4, experts=2)
    trainer = fit(model, data)
    number = 40
    new = pl.DataFrame({name: ["1"] * number for name in (column.name for column in data.recipe.columns)})
    named = new.with_columns(time_ms=pl.lit(0))  # one of its `ids`, which the command line writes beside the answers
    again = kuairand.build(tmp_path / "raw", predict=named, like=data.folder, prepared=tmp_path / "again")
    expected = expected_of(trainer, model, again)
    found = model.predict(new)
    for task in model.task_names:
        assert found[task].to_numpy().tobytes() == expected[task].tobytes()
    model.save_pretrained(tmp_path / "saved")
    assert "CC BY-SA 4.0" in (tmp_path / "saved/card.md").read_text()
    assert mtlzoo.load(tmp_path / "saved").predict(new).equals(found)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize("encoder", ["mf", "lightgcn"])
def test_a_ranking_scores_pairs(tmp_path: Path, encoder: Any) -> None:
    data = Friends(tmp_path, prepared=tmp_path / "prepared", batch_size=64)
    model = PMTRec(data.schema, embedding_dim=4, encoder=encoder)
    trainer = fit(model, data)
    new = next(data.read()).select(column.name for column in data.recipe.columns)
    again = Friends(tmp_path, prepared=tmp_path / "again", predict=new, like=data.folder)
    expected = expected_of(trainer, model, again)
    model.save_pretrained(tmp_path / "saved")
    found = mtlzoo.load(tmp_path / "saved").predict(new)
    assert found.columns == [name for name in expected if name != "row"]
    for task in found.columns:
        assert found[task].to_numpy().tobytes() == expected[task].tobytes()
