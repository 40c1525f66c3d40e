"""The encoder of several ids per row: tags, histories."""

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import override

from mtlzoo.datamodules.columns import SequenceColumn
from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.prepare.encoders.base import Counts, NameEncoder, Places, coded
from mtlzoo.datamodules.prepare.encoders.vocabulary import Ids, Table
from mtlzoo.datamodules.values.arrow import compact, from_arrow, to_arrow
from mtlzoo.datamodules.values.checks import Rows, held, require
from mtlzoo.datamodules.values.joined import ALLOWED, split_items


def as_lists(values: pl.Series, separator: str, column: str, rows: Rows) -> pl.Series:
    """A column of lists or of joined text as lists without null, NaN or blank items; null where there is no list.

    Args:
        values: The column.
        separator: Of texts.
        column: Its name.
        rows: As of `require`.

    Raises:
        DataError: Neither lists nor text, or lists of lists.
    """
    if values.dtype in (pl.String, pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
        # Text is split once per distinct text: tags repeat a lot.
        keys = to_arrow(values).dictionary_encode()
        texts, places = from_arrow(keys.dictionary), from_arrow(keys.indices)
        blank = texts.str.strip_chars() == ""
        lists = split_items(texts, separator).set(blank, None)
        if lists.null_count() > blank.sum():
            require((lists.is_not_null() | blank).gather(places), values, column, rows, ALLOWED)
        return lists.gather(places)
    if values.dtype == pl.Null:
        return values.cast(pl.List(pl.Null))
    if isinstance(values.dtype, pl.Array):
        values = values.arr.to_list()
    if not isinstance(values.dtype, pl.List):
        raise DataError(
            f"Column {column!r} holds {held(values)}; allowed are lists, or text such as '12{separator}65'."
        )
    inner = values.dtype.inner
    if inner.is_nested() or inner == pl.Object:
        raise DataError(f"Column {column!r} holds {held(values)}; allowed are lists of names or numbers. Flatten them.")
    if inner in (pl.Categorical, pl.Enum, pl.Int128, pl.UInt128):  # Arrow knows no integers of 128 bits
        values, inner = values.cast(pl.List(pl.String)), pl.String()
    there = pl.element().is_not_null()
    if inner.is_float():
        there &= pl.element().is_not_nan()
    if inner == pl.String:
        there &= pl.element().str.strip_chars() != ""
    return values.list.eval(pl.element().filter(there))


def flatten(lists: pa.Array) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Items of all rows in one array, and the number of items of each row (0 for null)."""
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy().astype(np.int64)
    return pc.list_flatten(lists), lengths


def as_array(items: pl.Series, lengths: npt.NDArray[np.int64]) -> pa.Array:
    """The inverse of `flatten`; integers in the smallest type that holds them."""
    return pa.LargeListArray.from_arrays(np.concatenate([[0], np.cumsum(lengths)]), compact(items))


def from_columns(items: pl.DataFrame, padding: int) -> pl.Series:
    """Lists of what stands side by side in columns of integers; null and `padding` are left out."""
    table = items.select(pl.all().fill_null(padding)).to_numpy()
    there = table != padding
    # Ten times faster than `pl.concat_list`.
    return from_arrow(as_array(pl.Series(table[there], dtype=pl.Int64), there.sum(1)))


class SequenceEncoder(NameEncoder):
    """The first or last `max_length` ids of each row, padded at the end with 0."""

    def __init__(self, column: SequenceColumn, table: Table) -> None:
        super().__init__(column.name, table)
        self.column = column

    @override
    def stage(self, chunk: pl.DataFrame, rows: range) -> pa.Array:
        lists = as_lists(chunk[self.column.name], self.column.separator, self.column.name, rows)
        items, lengths = flatten(to_arrow(lists))
        if lengths.max(initial=0) > (most := self.column.max_length):
            kept = lists.list.head(most) if self.column.keep == "first" else lists.list.tail(most)
            items, lengths = flatten(to_arrow(kept))
        keys = self.keys.check(from_arrow(items), np.repeat(np.asarray(rows), lengths))
        return as_array(keys, lengths)

    @override
    def settle(self) -> None:
        self.keys.settle()

    @override
    def observe(self, staged: pa.Array, train: Places, times: Counts | None = None) -> None:
        items, lengths = flatten(staged)
        learned = np.zeros(len(staged), np.bool_)
        learned[train] = True
        rows = np.flatnonzero(np.repeat(learned, lengths))
        times = times if times is None else np.repeat(times, lengths[train])
        self.keys.count(coded(from_arrow(items)), rows, times)

    @override
    def encode(self, staged: pa.Array) -> Ids:
        items, lengths = flatten(staged)
        ids = np.zeros((len(staged), self.column.max_length), np.int32)
        ids[np.arange(self.column.max_length) < lengths[:, None]] = self.keys.ids(coded(from_arrow(items)))
        return ids
