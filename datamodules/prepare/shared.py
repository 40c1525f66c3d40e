"""Columns of tables that rows share: staged, learned from and encoded once per row of the table."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from mtlzoo.datamodules.prepare.encoders.base import Encoder, NameEncoder, Places
from mtlzoo.datamodules.prepare.joined import Joined
from mtlzoo.datamodules.prepare.storage import Stage


class Column(NamedTuple):
    """A column as the rows of a chunk have it.

    Args:
        values: Staged or encoded ones.
        at: Where among them the value of each row is; None where each row has its own.
    """

    values: Any
    at: npt.NDArray[Any] | None = None

    def places(self, rows: Places) -> npt.NDArray[Any]:
        """Where the values of these rows of the chunk are."""
        return rows if self.at is None else self.at.take(rows)


class SharedTables:
    """The tables of `Joined` rows, in the order in which they come.

    Args:
        encoders: Of all columns. Those of names are staged by table, if their column is in it.
        folder: An empty folder of its own.
        pool: Threads; columns are independent.
    """

    def __init__(self, encoders: Sequence[Encoder], folder: Path, pool: ThreadPoolExecutor) -> None:
        self.encoders = encoders
        self.stage = Stage(folder)
        self.pool = pool
        self._last: pl.DataFrame | None = None
        self._counts: dict[int, npt.NDArray[np.int64]] = {}
        self._encoded: tuple[int, list[Any]] = (-1, [])

    def takes(self, encoder: Encoder, frame: object) -> bool:
        """Whether the column is staged with the table of the rows, not with the rows."""
        if not (isinstance(frame, Joined) and isinstance(encoder, NameEncoder)):
            return False
        return encoder.keys.name in frame.table.columns

    def add(self, frame: Joined) -> int:
        """Stages the table, unless it has been; returns its number."""
        if frame.table is not self._last:
            rows = range(len(frame.table))

            def stage(encoder: Encoder) -> pa.Array:
                return encoder.stage(frame.table, rows) if self.takes(encoder, frame) else pa.nulls(len(rows))

            self.stage.write([*self.pool.map(stage, self.encoders)], rows)
            self._last = frame.table
        return len(self.stage.chunks) - 1

    def count(self, number: int, at: npt.NDArray[np.integer[Any]]) -> None:
        """Takes in which rows of a table rows of train have."""
        counts = np.bincount(at, minlength=len(self.stage.chunks[number]))
        self._counts[number] = self._counts.get(number, 0) + counts

    def observe(self) -> None:
        """Has the encoders learn from all that was counted."""
        for number, counts in self._counts.items():
            train = np.flatnonzero(counts)

            def observe(encoder: Encoder, column: pa.Array) -> None:
                if isinstance(encoder, NameEncoder) and not encoder.given and not pa.types.is_null(column.type):
                    encoder.observe(column, train, counts[train])  # noqa: B023  (ends within the turn)

            for _ in self.pool.map(observe, self.encoders, self.stage.at(number)):
                pass

    def staged(self, number: int) -> list[pa.Array]:
        """The staged columns of a table, by encoder; of type null where a column is not of the table."""
        return self.stage.at(number)

    def encoded(self, number: int) -> list[Any]:
        """The encoded columns of a table, by encoder; None where a column is not of the table."""
        if self._encoded[0] != number:

            def encode(encoder: Encoder, column: pa.Array) -> Any:
                return None if pa.types.is_null(column.type) else encoder.encode(column)

            self._encoded = number, [*self.pool.map(encode, self.encoders, self.staged(number))]
        return self._encoded[1]
