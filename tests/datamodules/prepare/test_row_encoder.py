"""Rows in memory are encoded as those of a preparation, whatever their number."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fixtures import tabular
from fixtures.prepared import CLICK, SPLIT, prepared, with_clicks
from mtlzoo.datamodules import DataError
from mtlzoo.datamodules.columns import CategoricalColumn, NumericColumn, Recipe, SequenceColumn
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


def test_times_as_json_has_them_are_those_of_the_training(tmp_path: Path) -> None:
    recipe = Recipe(
        columns=(
            *map(CategoricalColumn, ("day", "time", "instant")),
            CategoricalColumn("hashed", hash_buckets=50),
            SequenceColumn("past", 2),
        ),
        labels=(CLICK,),
        split=SPLIT,
    )
    start = datetime(2022, 3, 26, 23, 30, 0, 250_000, tzinfo=UTC)
    instants = [start + timedelta(hours=9 * n) for n in range(4)]
    days = [instant.date() for instant in instants]
    past = [days[:n] for n in range(4)]
    rows = with_clicks({"day": days, "time": instants, "instant": instants, "hashed": days, "past": past})
    berlin = pl.col("instant").dt.convert_time_zone("Europe/Berlin")
    rows = rows.with_columns(pl.col("time").dt.replace_time_zone(None), berlin)
    prepared(recipe, rows, tmp_path / "x")
    encoder = RowEncoder(Encoding(tmp_path / "x"))
    expected = encoder(rows)
    sent = [{name: value for name, value in row.items() if name != "click"} for row in rows.to_dicts()]
    received = json.loads(json.dumps(sent, default=lambda value: value.isoformat()))
    for name, values in encoder(received).items():
        np.testing.assert_array_equal(values, expected[name])
    unknown = encoder([dict.fromkeys(sent[0]), dict.fromkeys(sent[0], "") | {"past": None}])
    assert (unknown["categorical"] == 1).all()
    for name, value, words in [
        ("day", "2022-03-27 00:30:00", "found .*; allowed is what Date holds exactly"),
        ("day", "tomorrow", "found 'tomorrow'; allowed is a time such as"),
        ("instant", "2022-03-27 00:30:00", "with a zone, as the training held Datetime"),
        ("time", "2022-03-27 00:30:00Z", "without a zone"),
    ]:
        with pytest.raises(DataError, match=f"Column '{name}'.*{words}"):
            encoder([received[0] | {name: value}])


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
