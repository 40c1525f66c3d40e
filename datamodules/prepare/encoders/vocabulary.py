"""From values to embedding rows: one table per vocabulary, fitted on train only."""

import threading
from abc import ABC, abstractmethod
from bisect import bisect_left
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from typing_extensions import override

from mtlzoo.datamodules.hashing import hash_values
from mtlzoo.datamodules.values.keys import FEW, as_keys, common_type, comparable, known_keys
from mtlzoo.schema import FIRST_KNOWN, UNKNOWN

Ids = npt.NDArray[np.int32]
_PENDING = 1 << 18
"""Counts that wait to be merged, at least; at most as many as there are merged ones."""
_merging = threading.Lock()
"""One table at a time: for a moment, a merge needs several times the memory of its table."""
CLOSE = 1 << 23
"""Integers are close where lowest and highest are less than this apart: a table of all between them takes 32 MB."""
_SPREAD = 16
"""Integers between lowest and highest value, per value, up to which a table of all between them is kept anyway."""


class Table(ABC):
    """What the columns of one embedding table share: the id of every value.

    All columns `join` before any value is added. What `fit` fixed, `save` writes and another table may `restore`.
    """

    cardinality: int
    """Number of ids, padding and unknown included; known after `fit`."""
    dtype: pl.DataType | None = None
    given = False
    """Whether `restore` gave what would else be learned."""

    def join(self, dtype: pl.DataType | None, column: str) -> None:
        """Takes in a column of keys of that type.

        Raises:
            DataError: A type that cannot be compared with the other columns'.
        """
        if self.given:
            comparable(dtype, self.dtype or pl.String(), column)
        else:
            self.dtype = common_type(self.dtype, dtype, column)

    def add(self, values: pl.Series, counts: npt.NDArray[np.int64], column: str) -> None:  # noqa: B027
        """Counts distinct values of train. Threads may call it at once."""

    def fit(self) -> None:  # noqa: B027
        """Ends `add` and fixes the ids."""

    @abstractmethod
    def ids(self, values: pl.Series, column: str) -> Ids:
        """Id of each value; null and the empty text are unknown."""

    def save(self, path: Path) -> None:  # noqa: B027
        """Writes what there is to look up later."""

    def restore(self, dtype: pl.DataType, path: Path) -> None:
        """Takes the type of the keys and what `save` wrote; `add` and `fit` are not called then."""
        self.dtype, self.given = dtype, True

    def keys(self, values: pl.Series, column: str) -> pl.Series:
        """The values of a column in the type that all columns share."""
        as_shared = known_keys if self.given else as_keys
        return as_shared(values, self.dtype or pl.String(), column)


class HashTable(Table):
    """Ids by a stable hash: no memory, no unseen values, but values may share an id.

    Args:
        buckets: Number of ids, besides padding and unknown.
    """

    def __init__(self, buckets: int) -> None:
        self.buckets = buckets
        self.cardinality = FIRST_KNOWN + buckets

    @override
    def ids(self, values: pl.Series, column: str) -> Ids:
        keys = self.keys(values, column)
        keys = keys.fill_null("") if keys.dtype == pl.String else keys.to_physical()
        missing = (keys == "" if keys.dtype == pl.String else keys.is_null()).to_numpy()
        hashes = hash_values(keys.fill_null(0) if keys.dtype != pl.String else keys)
        buckets = FIRST_KNOWN + (hashes % np.uint64(self.buckets)).astype(np.int32)
        return np.where(missing, np.int32(UNKNOWN), buckets)


class Vocabulary(Table):
    """Ids of the values seen at least `min_count` times in train, the frequent first, ties by value.

    Counts are merged as they come, so memory grows with the distinct values, not with the rows.

    Args:
        min_count: Rarer values are unknown.
    """

    def __init__(self, min_count: int = 1) -> None:
        self.min_count = min_count
        self.entries = pl.DataFrame()
        self._counted: list[pl.DataFrame] = []
        self._pending = 0
        self._lock = threading.Lock()

    @override
    def add(self, values: pl.Series, counts: npt.NDArray[np.int64], column: str) -> None:
        keys = self.keys(values, column)
        with self._lock:
            counted = pl.DataFrame({"value": keys, "count": counts})
            self._counted.append(counted.drop_nulls() if keys.null_count() else counted)
            self._pending += len(keys)
            if self._pending > max(_PENDING, len(self._counted[0])):
                self._merge()

    @override
    def fit(self) -> None:
        self._merge()
        (counted,) = self._counted or [pl.DataFrame(schema={"value": self.dtype or pl.String(), "count": pl.Int64})]
        known = counted.filter(pl.col("count") >= self.min_count)
        if known.schema["value"] == pl.String:
            known = known.filter(pl.col("value") != "")
        known = known.sort("count", "value", descending=[True, False])
        self._index(known.with_columns(id=pl.int_range(FIRST_KNOWN, FIRST_KNOWN + pl.len(), dtype=pl.Int32)))
        self._counted = []

    def _index(self, entries: pl.DataFrame) -> None:
        self.entries = entries
        self.cardinality = FIRST_KNOWN + len(entries)
        self._sorted = entries.sort("value")
        self._values = self._sorted["value"].to_physical()
        self._dense = _dense(self._sorted)

    @override
    def ids(self, values: pl.Series, column: str) -> Ids:
        whole = values.dtype.is_signed_integer() and not values.null_count()
        keys = values if self._dense is not None and whole else self.keys(values, column)
        if self._dense is not None:
            low, ids = self._dense
            # What lies outside is clipped to the ends, which are unknown, as null is.
            places = (keys if whole else keys.fill_null(low)).to_numpy()
            found: Ids = ids.take(np.subtract(places, low, dtype=np.int64), mode="clip")
            return found
        if not len(self._sorted):
            return np.full(len(keys), UNKNOWN, np.int32)
        if len(keys) <= FEW:
            return np.asarray([self._id(key) for key in keys.cast(self._values.dtype).to_list()], np.int32)
        # Sorted queries walk the vocabulary in order: ten times faster than random ones where it has millions.
        queries = pl.DataFrame({"key": keys}).with_row_index("at").drop_nulls().sort("key")
        place = self._sorted["value"].search_sorted(queries["key"]).clip(upper_bound=len(self._sorted) - 1)
        known = (self._sorted["value"].gather(place) == queries["key"]).to_numpy()
        found = np.full(len(keys), UNKNOWN, np.int32)
        found[queries["at"].to_numpy()[known]] = self._sorted["id"].gather(place).to_numpy()[known]
        return found

    def _id(self, key: str | float | None) -> int:
        """Id of a physical value."""
        place = len(self._values) if key is None else bisect_left(self._values, key)
        known = place < len(self._values) and self._values[place] == key
        return int(self._sorted["id"][place]) if known else UNKNOWN

    @override
    def save(self, path: Path) -> None:
        self.entries.write_parquet(path)

    @override
    def restore(self, dtype: pl.DataType, path: Path) -> None:
        super().restore(dtype, path)
        self._index(pl.read_parquet(path, glob=False))

    def _merge(self) -> None:
        if self._counted:
            with _merging:
                self._counted = [pl.concat(self._counted).group_by("value").agg(pl.col("count").sum())]
        self._pending = 0


def is_close(low: int, high: int, count: int) -> bool:
    """Whether a table of all integers from the lowest to the highest of so many is small enough to be kept."""
    return high - low < max(CLOSE, _SPREAD * count)


def _dense(entries: pl.DataFrame) -> tuple[int, Ids] | None:
    """One less than the lowest of integer values, and the ids of all from there to one more than the highest."""
    if entries.schema["value"] != pl.Int64 or not len(entries):
        return None
    values = entries["value"].to_numpy()
    low, high = int(values[0]), int(values[-1])
    if not is_close(low, high, len(values)):
        return None
    ids = np.full(high - low + 3, UNKNOWN, np.int32)
    ids[values - low + 1] = entries["id"].to_numpy()
    return low - 1, ids
