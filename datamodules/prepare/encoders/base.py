"""What every encoder of raw columns does, and the encoder of one id per row."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from typing_extensions import override

from mtlzoo.datamodules.prepare.encoders.vocabulary import CLOSE, Ids, Table
from mtlzoo.datamodules.values.arrow import compact, from_arrow, to_arrow
from mtlzoo.datamodules.values.keys import KeyColumn
from mtlzoo.schema import UNKNOWN

Places = npt.NDArray[np.int64]
"""Places of rows in a chunk."""
Counts = npt.NDArray[np.int64]
"""How often each of some rows occurs."""


class Encoder(ABC):
    """Turns raw columns into columns of the prepared data, in three passes over the rows.

    `stage` checks a chunk of raw rows and brings it into the form that waits on disk; `observe` learns from the staged
    rows of train; `encode` gives the final numbers. Every chunk passes each of them once, in order. `settle` is called
    between staging and learning, `fit` between learning and encoding.

    What `fit` learned is `state`, which another encoder of the same column may `restore` instead of learning.
    """

    dtype: npt.DTypeLike = np.float32
    """Of the prepared column; `encode` may return any type that it can be cast from without loss."""
    given = False
    """Whether `restore` gave what would else be learned."""

    @abstractmethod
    def stage(self, chunk: pl.DataFrame, rows: range) -> pa.Array:
        """Checked values; `rows` are the row numbers, for errors.

        Raises:
            DataError: Values that the column may not hold.
        """

    def settle(self) -> None:  # noqa: B027
        """Fixes what all rows had to be seen for."""

    def observe(self, staged: pa.Array, train: Places) -> None:  # noqa: B027
        """Learns from the rows of train."""

    def fit(self) -> None:  # noqa: B027
        """Fixes what was learned."""

    def state(self) -> dict[str, Any]:
        """What `fit` learned, as JSON holds it; empty where a table holds it, or nothing is learned."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes what `state` gave; `observe` and `fit` are not called then."""
        self.given = True

    def fresh(self) -> Self:
        """An encoder with what this one learned, for other rows than those that it has seen."""
        return copy(self)

    @abstractmethod
    def encode(self, staged: pa.Array) -> npt.NDArray[Any]:
        """Final numbers, [rows, width]."""


class Keys(KeyColumn):
    """The names in one raw column and the table that gives them ids."""

    def __init__(self, column: str, table: Table) -> None:
        super().__init__(column)
        self.table = table

    def settle(self) -> None:
        """Joins the table."""
        self.table.join(self.dtype, self.name)

    def count(self, keys: pa.Array, rows: Places, times: Counts | None = None) -> None:
        """Tells the table how often each value occurs in `rows`; `keys` are of `coded`.

        Args:
            keys: Staged values.
            rows: Places among them.
            times: How often each of `rows` occurs; None is once.
        """
        if not isinstance(keys, pa.DictionaryArray):
            # Rows with null, which are rare, are picked and left out by polars: numpy would make them numbers with NaN.
            if keys.null_count:
                there = ~keys.is_null().to_numpy(zero_copy_only=False).take(rows)
                rows, times = rows[there], times if times is None else times[there]
                picked = from_arrow(keys).gather(rows).to_numpy()
            else:
                picked = keys.to_numpy().take(rows)
            values, counts = _counted(picked, times)
            self.table.add(pl.Series(values), counts, self.name)
            return
        size = len(keys.dictionary)
        counts = _bincount(_places(keys).take(rows), times, size + 1)[:size]
        seen = np.flatnonzero(counts)
        # Taken with Arrow, which copies: the table may keep the values, and they may lie in a mapped file.
        self.table.add(from_arrow(keys.dictionary.take(pa.array(seen))), counts[seen], self.name)

    def ids(self, keys: pa.Array) -> Ids:
        """Id of each row; null is unknown. `keys` are of `coded`."""
        if not isinstance(keys, pa.DictionaryArray):
            return self.table.ids(from_arrow(keys), self.name)
        ids = self.table.ids(from_arrow(keys.dictionary), self.name)
        return np.append(ids, np.int32(UNKNOWN)).take(_places(keys))


class NameEncoder(Encoder):
    """Ids of names, of which a table holds what is learned: how often each occurs."""

    dtype = np.int32

    def __init__(self, column: str, table: Table) -> None:
        self.keys = Keys(column, table)

    @override
    def fresh(self) -> Self:
        made = super().fresh()
        made.keys = Keys(self.keys.name, self.keys.table)
        return made

    @abstractmethod
    @override
    def observe(self, staged: pa.Array, train: Places, times: Counts | None = None) -> None:
        """Learns from the rows of train; `times` says how often each occurs, once where it is None."""


class CategoricalEncoder(NameEncoder):
    """One id per row."""

    @override
    def stage(self, chunk: pl.DataFrame, rows: range) -> pa.Array:
        return coded(self.keys.check(chunk[self.keys.name], rows))

    @override
    def settle(self) -> None:
        self.keys.settle()

    @override
    def observe(self, staged: pa.Array, train: Places, times: Counts | None = None) -> None:
        self.keys.count(staged, train, times)

    @override
    def encode(self, staged: pa.Array) -> Ids:
        return self.keys.ids(staged)[:, None]


def coded(keys: pl.Series) -> pa.Array:
    """The form in which keys wait on disk: distinct values and each row's place among them; null has no place.

    Integers that are `CLOSE` stay as they are: a table finds them by place, which is several times faster than hashing.
    """
    if keys.dtype.is_integer():
        low, high = keys.min(), keys.max()
        if not (isinstance(low, int) and isinstance(high, int)) or high - low < CLOSE:
            return compact(keys)
    return to_arrow(keys).dictionary_encode()


def _counted(values: npt.NDArray[np.integer[Any]], times: Counts | None) -> tuple[npt.NDArray[np.int64], Counts]:
    """Distinct values, and how often each occurs."""
    if not len(values):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    low, high = int(values.min()), int(values.max())
    if high - low < 4 * len(values):
        counts = _bincount(np.subtract(values, low, dtype=np.int64), times)
        seen = np.flatnonzero(counts)
        return seen + low, counts[seen]
    if times is None:
        distinct, counts = np.unique(values, return_counts=True)
        return distinct.astype(np.int64), counts
    distinct, places = np.unique(values, return_inverse=True)
    return distinct.astype(np.int64), _bincount(places, times)


def _bincount(places: npt.NDArray[np.integer[Any]], times: Counts | None, size: int = 0) -> Counts:
    counts = np.bincount(places, times, size)
    return counts.astype(np.int64)  # of times, numpy gives floats, which are exact up to 2^53


def _places(keys: pa.DictionaryArray) -> npt.NDArray[np.integer[Any]]:
    """Place of each row's value in the dictionary; one past its end for null."""
    places: npt.NDArray[np.integer[Any]] = keys.indices.fill_null(len(keys.dictionary)).to_numpy()
    return places
