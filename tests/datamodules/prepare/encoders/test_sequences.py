import polars as pl

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
