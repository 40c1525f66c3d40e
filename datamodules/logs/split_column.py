"""The split of each row as a column, for data sets that take rows out of a part of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from mtlzoo.datamodules.columns import Split
from mtlzoo.datamodules.prepare.splitting import splitter


def assigned(read: Callable[[], Iterator[pl.DataFrame]], split: Split, folder: Path) -> Iterator[pl.DataFrame]:
    """Rows with `split`, the name of theirs; reads twice, in memory that does not grow with the rows.

    Args:
        read: Yields the rows from their beginning, the same each time.
        split: How to split.
        folder: Name of the prepared folder. What waits lies beside it, so that the next preparation removes what a
            killed process left behind.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent) as name:
        parts = splitter(split, Path(name) / "split")
        for frame, rows in _numbered(read()):
            parts.add(frame, rows)
        parts.finish()
        names = pl.Series("split", parts.names)
        for frame, rows in _numbered(read()):
            yield frame.with_columns(names.gather(parts.codes(rows).astype(np.int64)))


def _numbered(frames: Iterator[pl.DataFrame]) -> Iterator[tuple[pl.DataFrame, range]]:
    first = 1
    for frame in frames:
        if len(frame):
            yield frame, range(first, first + len(frame))
            first += len(frame)
