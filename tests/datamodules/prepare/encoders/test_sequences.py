"""Sequences from lists, from texts and from columns that hold one item each."""

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from fixtures.prepared import prepared_column, with_clicks
from mtlzoo.datamodules.columns import SequenceColumn
from mtlzoo.datamodules.prepare.encoders.sequences import from_columns


def test_lists_from_columns_that_hold_one_item_each() -> None:
    columns = pl.DataFrame({"a": [5, 0, None, 7], "b": [6, 0, 3, 0], "c": [-1, 0, 0, 9]})
    lists = from_columns(columns, padding=0)
    assert lists.to_list() == [[5, 6, -1], [], [3], [7, 9]]
    assert from_columns(columns, padding=7).to_list() == [[5, 6, -1], [0, 0, 0], [3, 0], [0, 9]]


def test_no_rows_give_no_lists() -> None:
    lists = from_columns(pl.DataFrame(schema={"a": pl.Int64, "b": pl.Int64}), padding=0)
    assert lists.to_list() == []
    assert lists.dtype.is_nested()


@pytest.mark.parametrize("keep", ["first", "last"])
def test_sequences_from_lists_and_texts_are_the_same(keep: Any, tmp_path: Path) -> None:
    lists: list[list[str | None] | None] = [["a", "b", "c"], [], ["c", None, "c", "a"], None, ["d"]]
    texts = [None if row is None else "|".join(item or "" for item in row) for row in lists]
    expected = []
    counts: Counter[str] = Counter()
    for row in lists:
        items = [item for item in row or [] if item is not None]
        expected.append(items[:2] if keep == "first" else items[-2:])
        counts.update(expected[-1])
    order = sorted(counts, key=lambda value: (-counts[value], value))
    wanted = [([order.index(item) + 2 for item in row] + [0, 0])[:2] for row in expected]
    for values, name in ((lists, "lists"), (texts, "texts")):
        column = SequenceColumn("tags", 2, separator="|", keep=keep)
        data = prepared_column(column, with_clicks({"tags": values}), tmp_path / name)
        assert data["train"]["tags"].tolist() == wanted
        assert data["train"]["tags"].dtype == torch.int32
