"""Tables of anybody: files of every kind, frames, splits, and text as it comes."""

import inspect
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
import torch
import yaml

from fixtures.tabular import SCHEMA, clicks, write_table
from mtlzoo.datamodules import DataError, TabularDataModule

FEATURES = {"user_id": "categorical", "price": "numeric"}
LABELS = {"click": "binary"}


def described(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (yaml.safe_load(SCHEMA) | changes).items() if value is not None}


def test_csv_and_parquet_give_the_same_tensors(tmp_path: Path) -> None:
    csv, parquet = (
        TabularDataModule(write_table(tmp_path / suffix, suffix), schema_file="schema.yaml")
        for suffix in (".csv", ".parquet")
    )
    assert csv.schema == parquet.schema
    for split in ("train", "val", "test"):
        assert set(csv.data[split]) == set(parquet.data[split])
        for name in ("numeric", "labels", "weight", "tags"):
            torch.testing.assert_close(csv.data[split][name], parquet.data[split][name], equal_nan=True)


@pytest.mark.parametrize(("name", "written", "separator"), [("t.tsv", "\t", None), ("t.csv", "|", "|")])
def test_separators(tmp_path: Path, name: str, written: str, separator: str | None) -> None:
    table = clicks(50).select("user_id", "price", "click")
    table.write_csv(tmp_path / name, separator=written)
    data = TabularDataModule(tmp_path, train=name, separator=separator, features=FEATURES, labels=LABELS)
    assert pl.concat(data.read())["price"].equals(table["price"])


def test_ids_in_a_csv_keep_their_leading_zeros(tmp_path: Path) -> None:
    data = TabularDataModule(write_table(tmp_path, ".csv"), schema_file="schema.yaml")
    assert data.data["test"].ids()["user_id"].str.len_chars().unique().to_list() == [4]


def test_columns_that_are_not_named_are_not_read(tmp_path: Path) -> None:
    for suffix in (".csv", ".parquet"):
        data = TabularDataModule(write_table(tmp_path / suffix, suffix), schema_file="schema.yaml")
        assert "unused" not in next(data.read()).columns


def test_patterns_and_lists_are_read_in_order(tmp_path: Path) -> None:
    table = clicks()
    for number in (2, 0, 1):
        table.slice(number * 300, 300).write_parquet(tmp_path / f"part-{number}.parquet")
    one = TabularDataModule(tmp_path, train="part-*.parquet", features=FEATURES, labels=LABELS)
    three = TabularDataModule(tmp_path, train=[f"part-{i}.parquet" for i in range(3)], features=FEATURES, labels=LABELS)
    expected = table.head(900).select("user_id", "price", "click")
    assert pl.concat(one.read()).select(expected.columns).equals(expected)
    assert pl.concat(three.read()).equals(pl.concat(one.read()))


def test_given_files_are_the_splits(tmp_path: Path) -> None:
    table = clicks()
    for part, rows in {"train": 700, "val": 200, "test": 100}.items():
        table.head(rows).write_parquet(tmp_path / f"{part}.parquet")
    files: dict[str, Any] = {part: f"{part}.parquet" for part in ("train", "val", "test")}
    data = TabularDataModule(tmp_path, **files, features=FEATURES, labels=LABELS)
    assert data.data.manifest["rows"] == {"train": 700, "val": 200, "test": 100}
    with pytest.raises(ValueError, match="nothing to divide"):
        TabularDataModule(tmp_path, **files, features=FEATURES, labels=LABELS, split={"kind": "random"})


@pytest.mark.parametrize(
    ("split", "train"),
    [
        (None, 800),
        ({"kind": "random", "val": 0.2, "test": 0.2, "seed": 3}, 600),
        ({"kind": "user", "user": "user_id", "order": "day", "val": 0.2, "test": 0.2}, 600),
        ({"kind": "time", "column": "day", "val": 5, "test": 7}, 500),
    ],
)
def test_splits(tmp_path: Path, split: dict[str, Any] | None, train: int) -> None:
    for suffix in (".csv", ".parquet"):
        data = TabularDataModule(write_table(tmp_path / suffix, suffix), **described(split=split))
        rows = data.data.manifest["rows"]
        assert sum(rows.values()) == 1000
        assert rows["train"] == pytest.approx(train, abs=60)


def test_dates_in_a_csv_split_by_time(tmp_path: Path) -> None:
    days = [date(2024, 4, 25) + timedelta(days=i % 10) for i in range(1000)]
    clicks().with_columns(pl.Series("day", days)).write_csv(tmp_path / "clicks.csv")
    (tmp_path / "schema.yaml").write_text("split: {kind: time, column: day, val: 2024-05-01, test: 2024-05-03}")
    data = TabularDataModule(tmp_path, schema_file="schema.yaml", train="clicks.csv", features=FEATURES, labels=LABELS)
    assert data.data.manifest["rows"] == {"train": 600, "val": 200, "test": 200}


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(tmp_path: Path, library: str) -> None:
    write_table(tmp_path)
    table: Any = clicks()
    frame = table.to_pandas().astype({"user_id": "category"}) if library == "pandas" else table
    data = TabularDataModule.from_frame(frame, **described(train=None))
    by_file = TabularDataModule(tmp_path, schema_file="schema.yaml")
    assert data.schema == by_file.schema
    torch.testing.assert_close(data.data["train"]["categorical"], by_file.data["train"]["categorical"])
    again = TabularDataModule.from_frame(frame, **described(train=None))
    assert again.folder == data.folder


def test_the_same_frame_from_several_threads_or_processes_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All have written before the first renames: none may take another's file."""
    together = threading.Barrier(3)
    rename = Path.replace

    def late(self: Path, target: Path) -> Path:
        if "train.parquet" in self.name:
            together.wait(60)
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", late)
    table = clicks(100)
    arguments: dict[str, Any] = {"prepared": tmp_path, "features": FEATURES, "labels": LABELS}
    with ThreadPoolExecutor(3) as pool:
        datas = list(pool.map(lambda _: TabularDataModule.from_frame(table, **arguments), range(3)))
    (path,) = (tmp_path / "frames").rglob("*.parquet")
    assert [file.name for file in path.parent.iterdir()] == ["train.parquet"]
    assert all(pl.concat(data.read())["price"].equals(table["price"]) for data in datas)
    monkeypatch.undo()
    before = path.stat()
    TabularDataModule.from_frame(table, **arguments)
    assert path.stat() == before, "written once"
    path.write_bytes(path.read_bytes()[:-100])
    again = TabularDataModule.from_frame(table, **arguments)
    assert len(pl.concat(again.read())) == 100, "a damaged one is made anew"


def test_frames_of_given_splits() -> None:
    table = clicks()
    data = TabularDataModule.from_frame(table[:700], table[700:800], table[800:], features=FEATURES, labels=LABELS)
    assert data.data.manifest["rows"] == {"train": 700, "val": 100, "test": 200}


def test_a_bare_sequence_keeps_the_first_fifty() -> None:
    frame = pl.DataFrame({"tags": [list(range(60)), [3]] * 10, "y": [0, 1] * 10})
    data = TabularDataModule.from_frame(frame, frame, features={"tags": "sequence"}, labels={"y": "binary"})
    assert data.data["train"]["tags"].shape == (20, 50)
    assert data.schema.tables == {"tags": 52}


def test_lists_of_a_pandas_table_are_a_sequence() -> None:
    frame = pd.DataFrame({"u": [1, 1, 2, 2] * 10, "tags": [[1, 2], [], [2], [1, 2, 2]] * 10, "y": [0, 1, 1, 0] * 10})
    data = TabularDataModule.from_frame(
        frame, features={"u": "categorical", "tags": {"kind": "sequence", "max_length": 2}}, labels={"y": "binary"}
    )
    assert data.data["train"]["tags"].shape[1] == 2


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_column_that_the_file_lacks_is_named(tmp_path: Path, suffix: str) -> None:
    write_table(tmp_path, suffix)
    data = TabularDataModule(tmp_path, **described(labels={"clik": "binary"}))
    with pytest.raises(DataError, match=r"clicks.*clik.*Did you mean \['click'\]"):
        list(data.read())


def test_an_unknown_file_type_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clicks.xlsx").touch()
    data = TabularDataModule(tmp_path, train="clicks.xlsx", features=FEATURES, labels=LABELS)
    with pytest.raises(DataError, match=r"\.xlsx.*allowed are \.parquet"):
        list(data.read())


OK = "u,x,y\n\u5317\u4eac,1.5,0\nb,,1\n"


@pytest.mark.filterwarnings(
    "ignore:TabularDataModule. the feature 'x' has one value:mtlzoo.datamodules.errors.DataWarning"
)
@pytest.mark.parametrize(
    ("text", "encoding", "options"),
    [
        (OK, "utf-8", {}),
        (OK, "gb18030", {"encoding": "gb18030"}),
        (OK.replace(",,", ",NA,"), "utf-8", {"null_values": ["NA", "-"]}),
        (OK.replace(",,", ",\\N,"), "utf-8", {"null_values": ["\\N"]}),
        (OK.replace(",", ";").replace("1.5", "1,5"), "utf-8", {"separator": ";", "decimal": ","}),
        (OK.replace("1.5", '"1,5"'), "utf-8", {"decimal": ","}),
        (OK.replace(",", ", "), "utf-8", {"strip": True}),
        (OK.replace("b", '"b"').replace(",0", ",False").replace(",1\n", ",True\n"), "utf-8", {}),
        (OK.replace("b", "'b"), "utf-8", {"quote": False}),
        (OK.replace("b", '"b'), "utf-8", {"quote": False}),
        (OK.replace(",", "::"), "utf-8", {"separator": "::"}),
        (OK.replace(",", "\u00a7"), "utf-8", {"separator": "\u00a7"}),
        (OK.replace("\n", "\r"), "utf-8", {}),
    ],
)
@pytest.mark.parametrize("by", ["arguments", "schema file"])
def test_text_files_as_they_come(tmp_path: Path, text: str, encoding: str, options: dict[str, Any], by: str) -> None:
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    described: dict[str, Any] = {"features": {"u": "categorical", "x": "numeric"}, "labels": {"y": "binary"}} | options
    files: dict[str, Any] = {"train": "a.csv", "val": "a.csv"}
    if by == "schema file":
        (tmp_path / "schema.yaml").write_text(yaml.safe_dump(described))
        data = TabularDataModule(tmp_path, schema_file="schema.yaml", **files)
    else:
        data = TabularDataModule(tmp_path, **files, **described)
    frame = pl.concat(data.read())
    assert frame["x"][:2].to_list() == [1.5, None]
    assert frame["u"][0] == "\u5317\u4eac"
    assert data.data["train"]["labels"].flatten().tolist() == [0, 1]


def test_every_option_that_a_message_names_is_one(tmp_path: Path) -> None:
    """Each message about a text file names options, and the class has them."""
    known = inspect.signature(TabularDataModule.__init__).parameters
    bad = [b"u,x,y\n\xff,1,0\n", b"u,x,y\na,NA,0\n", b"u,x,y\na,1\n", b'u,x,y\n"a\nb",1,0\n', b"u,x,y\na,1,maybe\n"]
    for content in bad:
        (tmp_path / "a.csv").write_bytes(content)
        data = TabularDataModule(
            tmp_path, train="a.csv", val="a.csv", features={"u": "categorical", "x": "numeric"}, labels={"y": "binary"}
        )
        with pytest.raises(DataError) as refused:
            data.prepare_data()
        named = {*re.findall(r"(\w+)=", str(refused.value)), *re.findall(r"\w+_values", str(refused.value))}
        assert named
        assert named <= set(known)
