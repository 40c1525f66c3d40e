"""Rows to predict need no labels and no training files, and are encoded as the training's were."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from fixtures import kuairand
from fixtures.tabular import clicks
from mtlzoo.datamodules import DataError, KuaiRand, Synthetic, TabularDataModule
from mtlzoo.datamodules.base import MultiTaskDataModule

FEATURES: dict[str, Any] = {
    "user_id": {"kind": "categorical", "min_count": 2},
    "price": "numeric",
    "day": {"kind": "numeric", "buckets": 4},
    "tags": {"kind": "sequence", "max_length": 3},
}
SPLITS: dict[str, dict[str, Any]] = {
    "random": {},
    "time": {"split": {"kind": "time", "column": "day", "val": 8, "test": 9}},
    "user": {"split": {"kind": "user", "user": "user_id", "order": "day"}},
    "a column": {"split": {"kind": "column", "column": "part"}},
    "weights and groups": {"weight": "weight", "group": "part"},
}


def table() -> pl.DataFrame:
    """Clicks, with what only a training needs beside them."""
    rows = clicks(600).with_row_index("number")
    part = pl.when(pl.col("number") < 400).then(pl.lit("train")).otherwise(pl.lit("test"))
    return rows.with_columns(
        pl.when(pl.col("number") % 5 == 1).then(pl.lit("val")).otherwise(part).alias("part"), weight=pl.lit(0.5)
    )


def trained(folder: Path, **changes: Any) -> TabularDataModule:
    folder.mkdir()
    table().write_parquet(folder / "train.parquet")
    options: dict[str, Any] = {"features": FEATURES, "labels": {"click": "binary", "rating": "regression"}}
    options |= {"user": "user_id", "prepared": folder / "prepared"}
    data = TabularDataModule(folder, train="train.parquet", **{**options, **changes})
    data.prepare_data()
    return data


def tensors(data: MultiTaskDataModule) -> dict[str, torch.Tensor]:
    batches = list(data.predict_dataloader())
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


@pytest.mark.parametrize("options", SPLITS.values(), ids=SPLITS.keys())
@pytest.mark.parametrize("suffix", ["csv", "parquet", "frame"])
def test_rows_of_the_training_mean_the_same_again(tmp_path: Path, options: dict[str, Any], suffix: str) -> None:
    """All rows, in order, without the columns that only a training has and without its files."""
    data = trained(tmp_path / "a", **options)
    expected = {name: [] for name in ("categorical", "numeric", "tags")}  # type: ignore[var-annotated]
    numbers = []
    for split in ("val", "test"):
        numbers.append(data.data[split].ids()["row"])
        for name, parts in expected.items():
            parts.append(data.data[split][name])
    kept = tmp_path / "kept"
    data.encoding.copy(kept)
    shutil.rmtree(tmp_path / "a")

    new: Any = table().select(list(FEATURES))
    if suffix != "frame":
        path = tmp_path / f"new.{suffix}"
        getattr(new, f"write_{suffix}")(path)
        new = path
    again = TabularDataModule(predict=new, like=kept, prepared=tmp_path / "again")
    assert again.schema == data.schema
    assert again.identity["parts"] == data.identity["parts"]
    found = tensors(again)
    assert found["row"].tolist() == list(range(600))
    assert set(found) == {"row", "categorical", "numeric", "tags"}
    order = torch.from_numpy(pl.concat(numbers).to_numpy())
    for name, parts in expected.items():
        torch.testing.assert_close(found[name][order], torch.cat(parts))
    ids = again.new_rows["predict"].ids()
    assert ids.columns == ["user_id", "row"]
    assert ids["user_id"].to_list() == table()["user_id"].to_list()


@pytest.mark.filterwarnings(
    "ignore:TabularDataModule. 100% of the ids of '(user_id|tags)' in predict:mtlzoo.datamodules.errors.DataWarning"
)
def test_unseen_and_missing_values_are_those_of_the_training(tmp_path: Path) -> None:
    data = trained(tmp_path / "a")
    new = {"user_id": ["unseen", None], "price": [None, 1.0], "day": [None, 1000], "tags": [None, "none,of,these"]}
    found = tensors(TabularDataModule(predict=new, like=data.folder, prepared=tmp_path / "b"))
    assert found["categorical"].tolist() == [[1, 1], [1, data.schema.categorical[1].cardinality - 1]]
    assert found["numeric"].flatten()[0] == 0
    assert found["tags"].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_new_rows_leave_the_training_as_it_was(tmp_path: Path) -> None:
    data = trained(tmp_path / "a")
    assert data.schema
    before = sorted(path.name for path in (tmp_path / "a/prepared").glob("Tabular*-*[0-9a-f]"))
    new = table().select(list(FEATURES))
    both = TabularDataModule(
        tmp_path / "a", train="train.parquet", user="user_id", features=FEATURES, predict=new,
        labels={"click": "binary", "rating": "regression"}, prepared=tmp_path / "a/prepared",
    )  # fmt: skip
    assert both.folder == data.folder
    assert tensors(both)["row"].shape == (600,)
    both.setup("fit")
    assert len(both.train_dataloader().columns["labels"]) == data.data.manifest["rows"]["train"]
    after = sorted(path.name for path in (tmp_path / "a/prepared").glob("Tabular*-*[0-9a-f]"))
    assert set(before) < set(after)
    assert len(after) == len(before) + 1


def test_several_files_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = trained(tmp_path / "a", ids=["day"])
    monkeypatch.chdir(tmp_path)
    new = table().select(list(FEATURES))
    new[:300].write_csv("one.csv")
    new[300:].write_parquet("two.parquet")
    found = TabularDataModule(predict=["one.csv", "two.parquet"], like=data.folder, prepared="again")
    ids = found.new_rows["predict"].ids()
    assert ids.columns == ["user_id", "day", "row", "row_file"]
    assert ids["row"].to_list() == [*range(300), *range(300)]
    assert ids["row_file"].str.split("/").list.last().to_list() == ["one.csv"] * 300 + ["two.parquet"] * 300
    torch.testing.assert_close(
        tensors(found)["numeric"], tensors(TabularDataModule(predict=new, like=data.folder, prepared="b"))["numeric"]
    )


def test_rows_of_the_test_split_are_numbered_as_in_their_file(tmp_path: Path) -> None:
    data = trained(tmp_path / "a", item="user_id")
    for split in ("val", "test"):
        ids = data.data[split].ids()
        assert table()["user_id"].gather(ids["row"]).to_list() == ids["user_id"].to_list()
    assert not data.data["train"].ids().width


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    data = trained(tmp_path / "a")
    new = table().select(list(FEATURES)).rename({"price": "prize"})
    with pytest.raises(DataError, match=r"no column \['price'\].*mean \['prize'\]"):
        tensors(TabularDataModule(predict=new, like=data.folder, prepared=tmp_path / "b"))


def test_files_without_labels_are_not_tested(tmp_path: Path) -> None:
    data = trained(tmp_path / "a")
    table().drop("click").write_csv(tmp_path / "new.csv")
    with pytest.raises(DataError, match=r"no column \['click'\].*--data\.predict new\.csv"):
        TabularDataModule(tmp_path, test="new.csv", like=data.folder, prepared=tmp_path / "b").schema  # noqa: B018


def test_other_rows_with_labels_are_tested_like_a_training(tmp_path: Path) -> None:
    data = trained(tmp_path / "a")
    table().write_csv(tmp_path / "new.csv")
    other = TabularDataModule(tmp_path, test="new.csv", like=data.folder, prepared=tmp_path / "b")
    assert other.data.manifest["rows"] == {"train": 0, "val": 0, "test": 600}
    assert other.schema == data.schema
    with pytest.raises(DataError, match="no rows in split 'train'"):
        other.train_dataloader()


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({**FEATURES, "price": {"kind": "numeric", "transform": "log1p"}}, "'transform': 'log1p'"),
        (dict(reversed(FEATURES.items())), "in another order"),
        ({"user_id": "categorical"}, "encodes other features"),
        ({**FEATURES, "user_id": {"kind": "categorical", "hash_buckets": 9}}, "'hash_buckets': 9"),
    ],
)
def test_other_features_are_not_encoded_like_a_training(tmp_path: Path, features: dict[str, Any], said: str) -> None:
    data = trained(tmp_path / "a")
    other = TabularDataModule(
        predict=table(), features=features, labels={"click": "binary"}, like=data.folder, prepared=tmp_path / "b"
    )
    with pytest.raises(DataError, match=f"(?s){said}"):
        tensors(other)


def test_like_is_a_run_or_a_prepared_folder(tmp_path: Path) -> None:
    data = trained(tmp_path / "a")
    data.encoding.copy(tmp_path / "encoding")
    for like in (tmp_path, str(tmp_path / "encoding"), data.folder):
        assert TabularDataModule(predict=table(), like=like, prepared=tmp_path / "b").schema == data.schema
    (tmp_path / "text.ckpt").write_text("<html>")
    for like, said in (
        ("nowhere", "no such file or folder"),
        ("a", "no encoding.json in"),
        ("text.ckpt", "not a checkpoint"),
    ):
        with pytest.raises(FileNotFoundError, match=said):
            TabularDataModule(predict=table(), like=tmp_path / like)


def test_a_changed_vocabulary_is_noticed(tmp_path: Path) -> None:
    data = trained(tmp_path / "a")
    data.encoding.copy(tmp_path / "kept")
    path = tmp_path / "kept/vocabulary/user_id.parquet"
    entries = pl.read_parquet(path)
    entries.with_columns(pl.col("value").reverse()).write_parquet(path)
    with pytest.raises(DataError, match="vocabularies or statistics are not those"):
        tensors(TabularDataModule(predict=table(), like=tmp_path / "kept", prepared=tmp_path / "b"))


def test_new_rows_are_here_or_below_root_and_nowhere_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = trained(tmp_path / "a")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    table()[:10].write_csv(tmp_path / "a/new.csv")

    def rows() -> int:
        return len(tensors(TabularDataModule(tmp_path / "a", predict="new.csv", like=data.folder))["row"])

    assert rows() == 10
    table()[:20].write_csv("new.csv")
    with pytest.raises(DataError, match="are files of that name"):
        rows()
    (tmp_path / "a/new.csv").unlink()
    assert rows() == 20
    Path("new.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"no file .*new\.csv"):
        rows()


def others(tmp_path: Path) -> Iterator[tuple[MultiTaskDataModule, Any, dict[str, Any]]]:
    synthetic: dict[str, Any] = {"rows": 2000, "users": 50, "items": 40, "prepared": tmp_path / "prepared"}
    yield Synthetic(**synthetic), Synthetic, synthetic
    root = tmp_path / "kuairand"
    options = {"root": root, "prepared": tmp_path / "prepared", "past": True}
    yield kuairand.build(root, prepared=tmp_path / "prepared"), KuaiRand, options


@pytest.mark.slow
def test_every_data_set_predicts_a_table_of_its_columns(tmp_path: Path) -> None:
    """Of the columns that `read` yields, which are those of the publisher's files joined."""
    for data, kind, options in others(tmp_path):
        data.prepare_data()
        columns = [*(column.name for column in data.recipe.columns), *data.recipe.ids]
        rows = pl.concat(data.read()).select(list(dict.fromkeys(columns)))
        again = tensors(kind(**options, predict=rows, like=data.folder))
        assert len(again["row"]) == len(rows)
        for split in ("train", "val", "test"):
            found = data.data[split]["categorical"]
            pairs = {tuple(row) for row in again["categorical"].tolist()}
            assert {tuple(row) for row in found.tolist()} <= pairs
