"""Pairs of user and item that a publisher has once: a second one is a line that was doubled, or a file given twice."""

import numpy as np
import numpy.typing as npt
import polars as pl

from mtlzoo.datamodules.errors import DataError

_BITS = 32


class Once:
    """Refuses a pair that comes again. Memory: 8 bytes per row, twice that for a moment at the end.

    Args:
        source: What is read, for the message.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._keys: list[npt.NDArray[np.int64]] = []

    def add(self, users: pl.Series, items: pl.Series) -> None:
        """Takes in the next rows: ids from 0 to 2^31 - 1."""
        self._keys.append(users.to_numpy().astype(np.int64) << _BITS | items.to_numpy().astype(np.int64))

    def finish(self) -> None:
        """Checks, after the last `add`.

        Raises:
            DataError: A pair that came more than once.
        """
        keys = np.concatenate([np.empty(0, np.int64), *self._keys])
        self._keys = []
        keys.sort()
        again = keys[1:][keys[1:] == keys[:-1]]
        if len(again):
            user, item = int(again[0]) >> _BITS, int(again[0]) & (1 << _BITS) - 1
            raise DataError(
                f"{self.source}: {len(again):,} rows repeat a pair of user and item, first user {user} with item "
                f"{item}; allowed is each pair once. Take the repeated rows out, or get the files again."
            )
