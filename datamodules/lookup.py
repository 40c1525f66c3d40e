"""Rows of a side table, found by a key."""

import numpy as np
import numpy.typing as npt
import polars as pl

from mtlzoo.datamodules.encode import from_arrow, to_arrow
from mtlzoo.datamodules.errors import DataError


class KeyIndex:
    """The row of each key of a side table: the sorted keys and their rows, and nothing else in memory.

    Args:
        keys: One per row of the table, none null, each once.
        source: The table's file, for messages.

    Raises:
        DataError: A key is missing or repeats.
    """

    def __init__(self, keys: pl.Series, source: str) -> None:
        if keys.null_count():
            raise DataError(f"{source}: row {keys.is_null().arg_true()[0] + 1:,} has no key {keys.name!r}.")
        order = keys.arg_sort()
        self._sorted = keys.gather(order).rechunk()
        self._rows = order.to_numpy().astype(np.int32)
        if (same := self._sorted == self._sorted.shift(1)).any():
            raise DataError(f"{source}: {keys.name} {self._sorted.filter(same)[0]!r} occurs more than once.")

    def rows(self, keys: pl.Series) -> npt.NDArray[np.int32]:
        """Row of each key in the table, -1 where the table has none; they may repeat."""
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
