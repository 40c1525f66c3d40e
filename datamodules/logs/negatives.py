"""Items that a user has nothing to do with, drawn for every row of a log: negatives of an interaction task."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.hashing import UInt64s, hash_values, splitmix64

ROUNDS = 12
"""Large ranges need four; on those of a handful fewer rounds than these leave some places twice as likely as others."""
Integers = npt.NDArray[np.integer[Any]]


class NegativeSampler:
    """Draws items uniformly from those that the row's user has no row with, anywhere in the log.

    No draw is an interaction. The items of a user are all different until each was drawn, and only then come again, so
    that no pair of train comes back in test. A draw depends on the seed, the user, what the user has rows with and the
    place of the row among the user's rows, not on how the log is cut into chunks.

    Rows wait in files by a hash of the user, so memory grows with one file's rows and the distinct items alone; what is
    drawn, 4 bytes each, is written through a mapped file.

    Args:
        folder: An empty or new folder of its own.
        per_row: Items per row.
        seed: Of the draws.
    """

    files = 64

    def __init__(self, folder: Path, *, per_row: int, seed: int) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.per_row, self.seed = folder, per_row, seed
        self.rows = 0
        self._items = pl.Series()
        self._writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}

    def add(self, users: pl.Series, items: pl.Series) -> None:
        """Takes in the next rows: ids without null, of the same types in every call."""
        self._items = pl.concat([self._items, items]).unique() if len(self._items) else items.unique()
        rows = pl.DataFrame({"user": users, "item": items, "row": np.arange(self.rows, self.rows + len(users))})
        rows = rows.with_columns(file=pl.Series(hash_values(users) % np.uint64(self.files)))
        for (file,), part in rows.partition_by("file", include_key=False, as_dict=True).items():
            table = part.to_arrow(compat_level=pl.CompatLevel.oldest())
            if file not in self._writers:
                self._writers[file] = pa.ipc.new_stream(self.folder / str(file), table.schema)
            self._writers[file].write_table(table)
        self.rows += len(users)

    def finish(self) -> None:
        """Draws; after the last `add`.

        Raises:
            DataError: A user who has rows with every item.
        """
        self._items = self._items.sort()
        drawn = np.memmap(self.folder / "drawn", np.int32, "w+", shape=(max(1, self.rows), self.per_row))
        for file, writer in self._writers.items():
            writer.close()
            rows = pl.read_ipc_stream(self.folder / str(file)).sort("user", "row")
            drawn[rows["row"].to_numpy()] = self._draw(rows)
            (self.folder / str(file)).unlink()
        drawn.flush()

    def of(self, rows: range) -> pl.Series:
        """Items drawn for rows (numbered from 0), `per_row` of each after another; after `finish`."""
        width = self.per_row * np.dtype(np.int32).itemsize
        places = np.fromfile(self.folder / "drawn", np.int32, len(rows) * self.per_row, offset=rows.start * width)
        return self._items.gather(places)

    def _draw(self, rows: pl.DataFrame) -> Integers:
        """Places in the sorted items, [rows, per_row], for all rows of some users."""
        size = len(self._items)
        user = rows["user"].rle_id().to_numpy().astype(np.int64)
        item = self._items.search_sorted(rows["item"]).to_numpy().astype(np.int64)
        owner, taken = np.divmod(np.unique(user * size + item), size)
        first = np.searchsorted(owner, np.arange(user[-1] + 1))
        free = size - np.diff(first, append=len(owner))
        if not free.all():
            whole = rows["user"].filter(pl.Series(free[user] == 0))[0]
            raise DataError(f"User {whole!r} has rows with all {size:,} items, so there is none to draw as a negative.")
        nth = np.arange(len(user)) - np.searchsorted(user, user)  # among the user's rows
        nth = nth[:, None] * self.per_row + np.arange(self.per_row)
        of_user, left = user[:, None], free[user][:, None]
        key = splitmix64(hash_values(rows["user"]) ^ splitmix64(np.asarray([self.seed])))[:, None]
        # Which of the user's free items: every time that all were drawn, they come in another order.
        place = shuffled(nth % left, left + 0 * nth, key + (nth // left).astype(np.uint64)).astype(np.int64)
        # As an item: so many taken ones lie before it as have at most `place` free ones before them.
        before = taken - (np.arange(len(owner)) - first[owner])
        skipped = np.searchsorted(owner * (size + 1) + before, of_user * (size + 1) + place, side="right")
        codes: Integers = place + skipped - first[of_user]
        return codes


def shuffled(index: Integers, size: Integers, key: UInt64s) -> UInt64s:
    """Where a random order of 0 .. size - 1 has each index, without making the order.

    A Feistel network on the next even number of bits, applied again until the result is below `size`, is one to one
    on 0 .. size - 1 (Black and Rogaway, CT-RSA 2002).

    Args:
        index: Numbers in [0, size), of any shape.
        size: Of the same shape.
        key: Of the same shape; the same key and size give the same order.
    """
    result = np.empty(index.size, np.uint64)
    todo = np.arange(index.size)
    value, limit, keys = index.ravel().astype(np.uint64), size.ravel().astype(np.uint64), splitmix64(key.ravel())
    bits = np.frexp((limit - np.uint64(1)).astype(np.float64))[1]
    half = np.maximum(1, (bits + 1) // 2).astype(np.uint64)
    mask = (np.uint64(1) << half) - np.uint64(1)
    while len(todo):
        left, right = value >> half, value & mask
        for number in range(ROUNDS):
            left, right = right, left ^ (splitmix64(right ^ splitmix64(keys + np.uint64(number))) & mask)
        value = left << half | right
        found = value < limit
        result[todo[found]] = value[found]
        todo, value, limit, keys, half, mask = (x[~found] for x in (todo, value, limit, keys, half, mask))
    return result.reshape(index.shape)
