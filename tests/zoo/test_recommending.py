"""`recommend`: what the metrics of rankings ranked, in raw ids, from a checkpoint and from an exported folder."""

import json
import shutil
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from chosen_device import ACCELERATOR

import mtlzoo
from fixtures.friends import Friends
from mtlzoo import PMTRec, recommending
from mtlzoo.datamodules import DataError, DataWarning
from mtlzoo.metrics.ranking import RankingMetrics


def fitted(data: Friends, folder: Path, **options: Any) -> PMTRec:
    torch.manual_seed(0)
    model = PMTRec(data.schema, **{"embedding_dim": 8, "lr": 0.01, **options})
    trainer = L.Trainer(
        default_root_dir=folder,
        accelerator=ACCELERATOR,
        max_epochs=2,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data)
    return model


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Friends:
    root = tmp_path_factory.mktemp("friends")
    return Friends(root, prepared=root, batch_size=64, kinds=("recommend", "friends"))


@pytest.fixture(scope="module")
def model(data: Friends, tmp_path_factory: pytest.TempPathFactory) -> PMTRec:
    return fitted(data, tmp_path_factory.mktemp("run"))


def rows(data: Friends, split: str) -> pl.DataFrame:
    (frame,) = data.read()
    return frame.filter((pl.col("split") == split) & (pl.col("recommend") == 1))


def measured(model: Any, data: Friends) -> dict[str, float]:
    """Metrics of the test split, from what `recommend` says alone."""
    train = rows(data, "train").select("user", "item")
    seen, users, items = set(train.iter_rows()), set(train["user"]), set(train["item"])
    wanted: dict[int, list[int]] = {}
    for user, item in rows(data, "test").select("user", "item").iter_rows():
        if user in users and (user, item) not in seen:
            wanted.setdefault(user, []).append(item + 2 if item in items else 1)  # 1 is missed every time
    found = model.recommend(pl.DataFrame({"user": list(wanted)}), k=40)
    assert found["user"].unique(maintain_order=True).to_list() == list(wanted)
    metrics = RankingMetrics()
    for user, relevant in wanted.items():
        shown = found.filter(pl.col("user") == user)
        assert shown["rank"].to_list() == list(range(1, len(shown) + 1))
        assert not {(user, item) for item in shown["item"]} & seen
        top = [item + 2 for item in shown["item"]]
        metrics.update(torch.tensor([top + [0] * (40 - len(top))]), torch.tensor([relevant]))
    return {name: float(value) for name, value in metrics.compute().items()}


def metrics_of_test(model: Any, data: Friends) -> dict[str, float]:
    trainer = L.Trainer(accelerator=ACCELERATOR, logger=False, enable_progress_bar=False, enable_checkpointing=False)
    (found,) = trainer.test(model, data, verbose=False)
    return {name.rpartition("/")[2]: value for name, value in found.items() if "recommend" in name}


@pytest.mark.parametrize("encoder", ["mf", "lightgcn", "ngcf"])
def test_it_is_what_the_test_ranked(data: Friends, tmp_path: Path, encoder: Any) -> None:
    fitted(data, tmp_path, encoder=encoder)
    (checkpoint,) = tmp_path.glob("checkpoints/*.ckpt")
    best = mtlzoo.load(checkpoint)
    best.save_pretrained(tmp_path / "exported")
    expected = metrics_of_test(best, data)
    assert 0 < expected["recall@20"] < 1
    for each in (best, mtlzoo.load(tmp_path / "exported")):
        assert measured(each, data) == pytest.approx(expected, abs=1e-7)


@pytest.fixture(scope="module")
def exported(model: PMTRec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("export") / "m"
    model.save_pretrained(folder)
    return folder


KINDS: dict[str, Any] = {
    "polars": pl.DataFrame,
    "lazy": lambda columns: pl.DataFrame(columns).lazy(),
    "pandas": lambda columns: pd.DataFrame(columns, index=np.arange(7, 7 + len(columns["user"]))),
    "arrow": pa.table,
    "columns": dict,
    "rows": lambda columns: pl.DataFrame(columns).to_dicts(),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.every_case
def test_it_answers_in_the_kind_and_order_asked(model: PMTRec, kind: str) -> None:
    users = {"user": [9, 3, 9], "other": ["a", "b", "c"]}
    expected = model.recommend(pl.DataFrame(users), k=4)
    assert expected["user"].to_list() == [9] * 4 + [3] * 4 + [9] * 4
    assert expected.columns == ["user", "rank", "item", "score"]
    found = model.recommend(KINDS[kind](users), k=4)
    assert type(found) is type(KINDS[kind](users))
    plain = pl.DataFrame(found.collect() if kind == "lazy" else found)
    assert plain.rows() == expected.rows()


def test_scores_are_those_of_predict(model: PMTRec) -> None:
    found = model.recommend(pl.DataFrame({"user": range(20)}), k=7)
    scores = model.predict(found)["recommend"]
    np.testing.assert_allclose(found["score"], scores, rtol=1e-6, atol=1e-7)
    falls = found.with_columns(pl.col("score").diff().over("user").alias("step"))["step"].drop_nulls()
    assert (falls <= 0).all()


def test_of_equal_items_the_metrics_first_is_first(exported: Path) -> None:
    model = mtlzoo.load(exported)
    assert isinstance(model, PMTRec)
    model.encoder.table.weight.data.zero_()
    found = model.recommend(pl.DataFrame({"user": [3]}), k=40, exclude_train=False)
    entries = pl.read_parquet(exported / "encoding/vocabulary/item.parquet").sort("id")
    assert found["item"].to_list() == entries["value"].to_list()


def test_pairs_are_left_out(model: PMTRec) -> None:
    asked = pl.DataFrame({"user": [3, 5]})
    before = model.recommend(asked, k=3)
    gone = before.filter(pl.col("user") == 3)
    strangers = pl.DataFrame(
        {"user": [3, 99], "item": [99, 3]}, schema=dict(zip(("user", "item"), gone.dtypes[::2], strict=True))
    )
    after = model.recommend(asked, k=3, exclude=pl.concat([gone.select("user", "item"), strangers]))
    assert not set(after.filter(pl.col("user") == 3)["item"]) & set(gone["item"])
    assert after.filter(pl.col("user") == 5).equals(before.filter(pl.col("user") == 5))
    everything = model.recommend(asked, k=99, exclude_train=False)
    assert len(everything) == 2 * 40
    nothing = model.recommend(asked, exclude=everything)
    assert nothing.columns == before.columns
    assert not len(nothing)


def test_many_at_a_time_are_as_one(model: PMTRec, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = pl.DataFrame({"user": range(60)})
    expected = model.recommend(asked)
    for name, value in (("USERS", 7), ("PADDED", 1)):
        monkeypatch.setattr(recommending, name, value)
        found = model.recommend(asked)
        assert found.drop("score").equals(expected.drop("score"))
        np.testing.assert_allclose(found["score"], expected["score"], atol=1e-7)


def test_strangers_are_named_and_have_no_rows(model: PMTRec) -> None:
    with pytest.warns(
        DataWarning, match=r"train does not know 3 of the users \('x', None\); they have no rows"
    ) as said:
        found = model.recommend(pl.DataFrame({"user": ["x", "3", None, "x"]}), k=2)
    assert len(said) == 1
    assert found["user"].to_list() == ["3", "3"]
    assert not len(model.recommend(pl.DataFrame({"user": pl.Series([], dtype=pl.Int64)})))


def test_what_it_refuses(model: PMTRec, exported: Path, tmp_path: Path) -> None:
    for k in (0, 2.5, True, "5"):
        with pytest.raises(ValueError, match=f"k={k!r}; allowed is a whole number >= 1"):
            model.recommend({"user": [3]}, k=k)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"recommend: no column \['user'\]; it has \['usr'\]"):
        model.recommend({"usr": [3]})
    with pytest.raises(DataError, match=r"exclude=: no column \['item'\]"):
        model.recommend({"user": [3]}, exclude={"user": [3]})
    with pytest.raises(DataError, match="recommend is list; allowed is a table"):
        model.recommend([3])
    broken = mtlzoo.load(exported)
    assert isinstance(broken, PMTRec)
    broken.encoder.table.weight.data[5] = np.nan
    with pytest.raises(ValueError, match="diverged"):
        broken.recommend({"user": [3]})


def test_a_folder_without_what_was_seen_says_so(model: PMTRec, exported: Path, tmp_path: Path) -> None:
    copy: Path = tmp_path / "copy"
    shutil.copytree(exported, copy)
    listed = json.loads((copy / "files.json").read_text())
    listed["files"] = {name: digest for name, digest in listed["files"].items() if not name.startswith("seen/")}
    (copy / "files.json").write_text(json.dumps(listed))
    found = mtlzoo.load(copy)
    assert isinstance(found, PMTRec)
    with pytest.raises(ValueError, match="nothing says any more what users have seen in train"):
        found.recommend({"user": [3]})
    assert len(found.recommend({"user": [3]}, k=40, exclude_train=False)["item"]) == 40
    with pytest.warns(DataWarning, match="without what users have seen in train"):
        found.save_pretrained(tmp_path / "again")


def test_the_hub_is_not_told_what_users_have_seen(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: Path = tmp_path / "there"
    monkeypatch.setattr("mtlzoo.export.hub.push", lambda folder, *_, **__: shutil.copytree(folder, there))
    found = mtlzoo.load(exported)
    assert isinstance(found, PMTRec)
    found.push_to_hub("me/shop")
    assert (exported / "seen").is_dir()
    assert not (there / "seen").exists()
    back = mtlzoo.load(there)
    assert isinstance(back, PMTRec)
    with pytest.raises(ValueError, match="nothing says any more what users have seen in train"):
        back.recommend({"user": [3]})


@pytest.mark.parametrize("how", ["cut", "others"])
def test_damaged_lists_are_refused(exported: Path, tmp_path: Path, how: str) -> None:
    from mtlzoo.export.contents import LIST, seal

    copy: Path = tmp_path / "copy"
    shutil.copytree(exported, copy)
    path = copy / "seen/starts.npy"
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    else:  # a stranger's, who knows how folders are sealed
        np.save(path, np.array([0, 9], np.int64))
        (copy / LIST).unlink()
        seal(copy)
    with pytest.raises(ValueError, match="is damaged"):
        mtlzoo.load(copy).recommend({"user": [3]})  # type: ignore[operator]


def test_a_model_without_a_ranking_is_refused(tmp_path: Path) -> None:
    data = Friends(tmp_path, prepared=tmp_path, batch_size=64, kinds=("rating",))
    with pytest.raises(ValueError, match=r"PMTRec learned no ranking but rating \(regression\)"):
        PMTRec(data.schema).recommend({"user": [3]})
