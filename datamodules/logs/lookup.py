"""Rows of a side table, found by a key."""

import numpy as np
import numpy.typing as npt
import polars as pl

from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.prepare.encoders.vocabulary import is_close
from mtlzoo.datamodules.values.arrow import from_arrow, to_arrow

Found = npt.NDArray[np.int32]


class KeyIndex:
    """The row of each key of a side table; memory grows with the rows, whatever the keys are.

    Integers that are close, as published ids are, have a place each in one array, which finds a row some ten times
    faster than a join; all other keys are sorted and searched.

    Args:
        keys: One per row of the table, none null, each once.
        source: The table's file, for messages.
        first: Keys may repeat; the first row of each counts.

    Raises:
        DataError: A key is missing or repeats.
    """

    def __init__(self, keys: pl.Series, source: str, *, first: bool = False) -> None:
        if keys.null_count():
            raise DataError(f"{source}: row {keys.is_null().arg_true()[0] + 1:,} has no key {keys.name!r}.")
        self._dense = _dense(keys)
        if self._dense is not None:
            repeated = not first and int(np.count_nonzero(self._dense[1] >= 0)) < len(keys)
        else:
            rows = keys.is_first_distinct().arg_true() if first else pl.Series(np.arange(len(keys), dtype=np.int32))
            order = keys.gather(rows).arg_sort()
            self._rows = rows.gather(order).to_numpy().astype(np.int32)
            self._sorted = keys.gather(self._rows).rechunk()
            repeated = bool((self._sorted == self._sorted.shift(1)).any())
        if repeated:
            again = keys.filter(keys.is_duplicated())[0]
            one, two, *_ = (keys == again).arg_true() + 1
            raise DataError(f"{source}: {keys.name} {again!r} occurs more than once, in rows {one:,} and {two:,}.")

    def rows(self, keys: pl.Series) -> Found:
        """Row of each key in the table, -1 where the table has none; they may repeat."""
        if self._dense is not None:
            low, rows = self._dense
            # What lies outside is clipped to the ends, which are -1, as null is.
            places = (keys.fill_null(low) if keys.null_count() else keys).to_numpy()
            close: Found = rows.take(np.subtract(places, low, dtype=np.int64), mode="clip")
            return close
        if not len(self._sorted):
            return np.full(len(keys), -1, np.int32)
        places = to_arrow(keys).dictionary_encode()
        # Distinct keys in order walk the table from one end to the other, several times faster than here and there.
        distinct = from_arrow(places.dictionary)
        order = distinct.arg_sort()
        queries = distinct.gather(order)
        at = self._sorted.search_sorted(queries).clip(upper_bound=len(self._sorted) - 1)
        known = (self._sorted.gather(at) == queries).to_numpy()
        found = np.full(len(distinct) + 1, -1, np.int32)
        found[order.to_numpy()] = np.where(known, self._rows[at.to_numpy()], -1)
        at_distinct: npt.NDArray[np.int32] = places.indices.fill_null(len(distinct)).to_numpy()
        return found.take(at_distinct)


def _dense(keys: pl.Series) -> tuple[int, Found] | None:
    """One less than the lowest of close integers, and the first rows of all from there to one more than the highest."""
    low, high = keys.min(), keys.max()
    if keys.dtype != pl.Int64 or not (isinstance(low, int) and isinstance(high, int)):
        return None
    if not is_close(low, high, len(keys)):
        return None
    found = np.full(high - low + 3, -1, np.int32)
    found[keys.to_numpy()[::-1] - (low - 1)] = np.arange(len(keys), dtype=np.int32)[::-1]
    return low - 1, found
