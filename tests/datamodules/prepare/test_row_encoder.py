"""Rows in memory are encoded as those of a preparation, whatever their number."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fixtures import tabular
from fixtures.prepared import CLICK, SPLIT, prepared, with_clicks
from mtlzoo.datamodules import DataError
from mtlzoo.datamodules.columns import CategoricalColumn, NumericColumn, Recipe
from mtlzoo.datamodules.prepare import row_encoder
from mtlzoo.datamodules.prepare.encoding import Encoding
from mtlzoo.datamodules.prepare.row_encoder import RowEncoder


@pytest.mark.parametrize("chunk", [1 << 18, 7])
def test_columns_are_those_of_the_preparation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(row_encoder, "CHUNK", chunk)
    data = tabular.build(tmp_path / "raw", prepared=tmp_path / "prepared")
    expected = data.data["test"]
    columns = RowEncoder(data.encoding)(tabular.clicks()[expected.ids()["row"].to_list()])
    assert set(columns) == {"categorical", "numeric", "tags"}
    for name, values in columns.items():
        assert values.dtype == expected[name].numpy().dtype
        np.testing.assert_array_equal(values, expected[name].numpy())


def test_no_row_is_an_answer_too(tmp_path: Path) -> None:
    data = tabular.build(tmp_path / "raw", prepared=tmp_path / "prepared")
    columns = RowEncoder(data.encoding)(tabular.clicks()[:0])
    assert {name: values.shape for name, values in columns.items()} == {
        "categorical": (0, 3),
        "numeric": (0, 1),
        "tags": (0, 3),
    }


def test_rows_leave_nothing_behind_for_the_next_ones(tmp_path: Path) -> None:
    """Names of another type, a number that is too large: each request is the first."""
    recipe = Recipe(columns=(CategoricalColumn("item"), NumericColumn("size")), labels=(CLICK,), split=SPLIT)
    rows = with_clicks({"item": [7, 8, 7, 9], "size": [1e-9, 3e-9, 2e-9, 1e-9]})
    prepared(recipe, rows, tmp_path / "x")
    encoder = RowEncoder(Encoding(tmp_path / "x"))
    expected = encoder(rows)
    with pytest.raises(DataError, match=r"row 1: found 1e\+35, which is .* deviations .* off the mean"):
        encoder(rows.with_columns(size=1e35))
    with pytest.raises(DataError, match="'item' holds Date; in the training it held Int64"):
        encoder(rows.with_columns(item=date(2022, 5, 3)))
    for again in (rows, rows.with_columns(pl.col("item").cast(pl.String)), rows):
        columns = encoder(again)
        assert columns.keys() == expected.keys()
        for name, values in columns.items():
            np.testing.assert_array_equal(values, expected[name])


def test_rows_are_numbered_over_chunks_and_objects_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_encoder, "CHUNK", 7)
    data = tabular.build(tmp_path / "raw", prepared=tmp_path / "prepared")
    encoder, rows = RowEncoder(data.encoding), tabular.clicks(20)
    prices = pl.Series(["1"] * 20).set(pl.int_range(20, eager=True) == 15, "dear")
    with pytest.raises(DataError, match="Column 'price', row 16: found 'dear'"):
        encoder(rows.with_columns(price=prices))
    with pytest.raises(DataError, match="predict: column 'tags' holds object"):
        encoder(rows.with_columns(tags=pl.Series([object()] * 20, dtype=pl.Object)))
    assert len(encoder(rows)["numeric"]) == 20
