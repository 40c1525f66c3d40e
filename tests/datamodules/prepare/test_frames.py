"""`from_frame` takes what people hold, or says what it found."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from mtlzoo.datamodules import DataError, TabularDataModule

COLUMNS: dict[str, list[Any]] = {
    "u": ["a", "b", "a", None] * 10,
    "x": [0.5, None, 2.0, 3.0] * 10,
    "y": [0, 1, 1, 0] * 10,
}
FRAME = pl.DataFrame(COLUMNS)
OPTIONS: dict[str, Any] = {"features": {"u": "categorical", "x": "numeric"}, "labels": {"y": "binary"}}


def pandas(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(COLUMNS).assign(**columns)


TABLES: dict[str, Callable[[], Any]] = {
    "polars": lambda: FRAME,
    "lazy": FRAME.lazy,
    "arrow": FRAME.to_arrow,
    "a record batch": lambda: FRAME.to_arrow().to_batches()[0],
    "a reader": lambda: FRAME.to_arrow().to_reader(),
    "columns": lambda: COLUMNS,
    "columns of arrays": lambda: {
        "u": pl.Series(COLUMNS["u"]),
        "x": np.array(COLUMNS["x"], float),
        "y": tuple(COLUMNS["y"]),
    },
    "rows": lambda: FRAME.to_dicts(),
    "rows that lack keys": lambda: [{k: v for k, v in row.items() if v is not None} for row in FRAME.to_dicts()],
    "pandas": pandas,
    "pandas, nullable": lambda: pandas().convert_dtypes(),
    "pandas, of Arrow": lambda: pandas().convert_dtypes(dtype_backend="pyarrow"),
    "pandas, objects": lambda: pandas().astype(object),
    "pandas, categorical": lambda: pandas().astype({"u": "category"}),
    "pandas, a named index": lambda: pandas().set_index("u"),
    "pandas, two named indices": lambda: pandas().set_index(["u", "x"]),
    "pandas, rows picked out": lambda: pd.concat([pandas(), pandas()]).iloc[:40],
    "pandas, sparse": lambda: pandas(y=pd.arrays.SparseArray(COLUMNS["y"])),
    "pandas, decimals": lambda: pandas(x=[None if v is None else Decimal(str(v)) for v in COLUMNS["x"]]),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_tables_of_every_kind_are_the_same(table: Callable[[], Any]) -> None:
    expected = TabularDataModule.from_frame(FRAME, **OPTIONS).data
    found = TabularDataModule.from_frame(table(), **OPTIONS).data
    assert found.schema == expected.schema
    for split in ("train", "val", "test"):
        for name, column in expected[split].items():
            torch.testing.assert_close(found[split][name], column, equal_nan=True)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_paths_are_tables_too(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    getattr(FRAME, f"write_{suffix}")(f"t.{suffix}")
    expected = TabularDataModule.from_frame(FRAME, FRAME, FRAME, **OPTIONS).data["test"]["numeric"]
    path = Path(f"t.{suffix}")
    for tables in ((path, path, path), (FRAME, str(path), path), ([path], FRAME, FRAME)):
        data = TabularDataModule.from_frame(*tables, **OPTIONS)
        torch.testing.assert_close(data.data["test"]["numeric"], expected)


@pytest.mark.parametrize(
    "several",
    [
        (FRAME[:20], FRAME[20:30], FRAME[30:]),
        (pandas()[:20], FRAME[20:30].lazy(), FRAME[30:].to_dicts()),
        {"train": FRAME[:20], "val": pandas()[20:30], "test": FRAME[30:].to_arrow()},
    ],
)
def test_several_tables_are_splits(several: Any) -> None:
    rows = {"train": 20, "val": 10, "test": 10}
    assert TabularDataModule.from_frame(several, **OPTIONS).data.manifest["rows"] == rows
    with pytest.raises(DataError, match="several tables in train="):
        TabularDataModule.from_frame(several, FRAME, **OPTIONS)


def test_a_column_may_be_named_like_a_split() -> None:
    table = {"train": ["a", "b"] * 100, "test": [0, 1] * 100}
    data = TabularDataModule.from_frame(table, features={"train": "categorical"}, labels={"test": "binary"})
    assert data.schema.categorical[0].cardinality == 4


def test_categories_of_numbers_are_numbers() -> None:
    numbers = pandas(u=pd.Categorical([7, 8, 7, None] * 10), x=pd.Categorical([1, 2, 3, 4] * 10))
    data = TabularDataModule.from_frame(numbers, **OPTIONS)
    assert pl.concat(data.read())["u"].to_list()[:4] == [7, 8, 7, None]
    assert data.data["train"]["numeric"].isfinite().all()


@pytest.mark.parametrize("zone", [None, "Asia/Shanghai"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_pandas_split(unit: str, zone: str | None) -> None:
    times = pd.Series(pd.date_range("2024-05-01", periods=40, freq="D", tz=zone)).dt.as_unit(unit)  # type: ignore[arg-type]
    split = {"kind": "time", "column": "t", "val": "2024-05-21", "test": "2024-05-31"}
    if zone is None:
        data = TabularDataModule.from_frame(pandas(t=times), split=split, **OPTIONS)
        assert data.data.manifest["rows"] == {"train": 20, "val": 10, "test": 10}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (lambda: np.zeros((3, 3)), "train is numpy.ndarray; allowed is a table of polars, pandas"),
        (lambda: 7, "train is int; allowed"),
        (lambda: [FRAME, FRAME], "train is list; allowed"),
        (lambda: {1, 2}, "train is set"),
        (lambda: (FRAME,) * 4, "a tuple of 4 tables"),
        (lambda: pd.DataFrame(np.zeros((4, 3))), "a column is named 0 .*names are text"),
        (lambda: {0: [1], "y": [1]}, "a column is named 0"),
        (lambda: pd.DataFrame({("a", "b"): [1]}), r"a column is named \('a', 'b'\)"),
        (lambda: pd.concat([pandas(), pandas()], axis=1), r"\['u', 'x', 'y'\] occur more than once"),
        (lambda: {**COLUMNS, "x": [1.0]}, "column 'x' has 1 rows where others have 40"),
        (lambda: {**COLUMNS, "x": 1.0}, "column 'x' is 1.0; a column is a list"),
        (lambda: {**COLUMNS, "u": "abc"}, "column 'u' is 'abc'; a column is a list"),
        (lambda: pandas(u=[1, {}] * 20), "column 'u' of object holds 1 and {}: "),
        (lambda: pandas(u=[object()] * 40), "column 'u'"),
        (lambda: {**COLUMNS, "u": [object()] * 40}, "column 'u' holds <object object"),
        (lambda: FRAME.with_columns(u=pl.Series([object()] * 40)), "column 'u' holds objects"),
        (lambda: pandas(u=[1j] * 40), "column 'u'"),
        (lambda: [{"y": 1, "u": 7}, {"u": [7]}], r"train: column 'u' holds 7 and \[7\]: "),
        (lambda: [{"u": "a"}, {"u": "\ud800"}], r"train: column 'u' holds 'a': "),
        (lambda: None, "no train"),
    ],
)
def test_everything_else_is_named(table: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TabularDataModule.from_frame(table(), **OPTIONS)
