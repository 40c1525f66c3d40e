"""Rows and the table that they share, not yet joined."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl


@dataclass(frozen=True)
class Joined:
    """Rows of which some columns lie in a table, where many rows may have the same row.

    What is prepared of the table is prepared once per row of it, whatever number of rows have it.

    Args:
        rows: The rows' own columns.
        table: The other columns: integers or lists of integers, which no check of rows refuses. The same object for all
            rows that share it.
        places: Row of the table for each of `rows`, int32.

    Raises:
        ValueError: A table of other columns.
    """

    rows: pl.DataFrame
    table: pl.DataFrame
    places: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        for name, dtype in self.table.schema.items():
            if not (dtype.inner if isinstance(dtype, pl.List) else dtype).is_integer():
                raise ValueError(f"Joined: column {name!r} of the table holds {dtype}; allowed are whole numbers.")

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @property
    def columns(self) -> list[str]:
        """Names of all columns, those of the table last."""
        return self.rows.columns + self.table.columns

    def plain(self, names: Sequence[str]) -> pl.DataFrame:
        """These columns of the rows and their table, joined."""
        places = pl.Series(self.places)
        theirs = (self.table[name].gather(places) for name in names if name in self.table.columns)
        return self.rows.with_columns(theirs).select(names)

    def select(self, names: Sequence[str]) -> "Joined":
        """The same without columns of its own that are not named."""
        return replace(self, rows=self.rows.select(name for name in names if name in self.rows.columns))

    def slice(self, start: int, length: int) -> "Joined":
        """Some of the rows."""
        return replace(self, rows=self.rows.slice(start, length), places=self.places[start : start + length])


Frame: TypeAlias = pl.DataFrame | Joined
"""Rows as the preparation takes them."""


def together(frames: Sequence[Frame]) -> Frame:
    """Frames that `fit_together`, one below the other."""
    joined = [frame for frame in frames if isinstance(frame, Joined)]
    if not joined:
        return pl.concat([frame for frame in frames if isinstance(frame, pl.DataFrame)])
    rows = pl.concat([frame.rows for frame in joined])
    return replace(joined[0], rows=rows, places=np.concatenate([frame.places for frame in joined]))


def fit_together(one: Frame, other: Frame) -> bool:
    """Whether two frames have the same columns, and the same table if any."""
    if isinstance(one, Joined) and isinstance(other, Joined):
        return one.table is other.table and one.rows.schema == other.rows.schema
    return isinstance(one, pl.DataFrame) and isinstance(other, pl.DataFrame) and one.schema == other.schema


def reader_of(module: Any) -> Callable[[], Iterator[Frame]]:
    """The `read` of a data module or, where whoever wrote that wrote it too, `read_joined`, which may yield `Joined`.

    So whoever replaces `read` alone is heard.
    """
    for owner in (module, *type(module).__mro__):
        if "read_joined" in vars(owner):
            break
        if "read" in vars(owner):
            return module.read  # type: ignore[no-any-return]
    return module.read_joined  # type: ignore[no-any-return]
