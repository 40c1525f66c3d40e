"""What the run folders of finished cells hold beside results.json, averaged over seeds."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from mtlzoo.compare.results import Result


def read(folder: Path, name: str) -> pl.DataFrame | None:
    """A CSV of a run folder; None where it is missing or empty."""
    path = folder / name
    if not path.is_file():
        return None
    frame = pl.read_csv(path, infer_schema_length=None, null_values=["", "nan", "NaN"])
    return frame if len(frame) else None


def over_seeds(results: Sequence[Result], name: str, keys: Sequence[str]) -> pl.DataFrame | None:
    """The lines of a CSV of every seed, averaged where they have the same keys, in the order of the first seed.

    Args:
        results: Seeds of a contender.
        name: Of the CSV.
        keys: Its columns that say what a line is of; the others are numbers.

    Returns:
        The keys, and the mean of every other column that holds numbers; None where no seed has the file.
    """
    frames = [frame for result in results if (frame := read(result.folder, name)) is not None]
    if not frames:
        return None
    every = pl.concat(frames, how="diagonal_relaxed")
    numbers = [c for c, kind in every.schema.items() if c not in keys and (kind.is_numeric() or kind == pl.Boolean)]
    return every.group_by(keys, maintain_order=True).agg(pl.col(numbers).cast(pl.Float64).mean())


def curves(results: Sequence[Result], columns: Sequence[str], along: str = "epoch") -> dict[str, pl.DataFrame]:
    """Columns of metrics.csv over training: mean over the seeds, and their deviation.

    Returns:
        By column that some seed has, a table of `along`, ``mean``, ``std`` (0 for one seed) and ``seeds``.
    """
    frames = [frame for result in results if (frame := read(result.folder, "metrics.csv")) is not None]
    return {
        column: _over_seeds(own, column, along)
        for column in columns
        if (own := [frame for frame in frames if {column, along} <= set(frame.columns)])
    }


def _over_seeds(frames: Sequence[pl.DataFrame], column: str, along: str) -> pl.DataFrame:
    value = pl.col("value")
    parts = [frame.select(along, pl.col(column).cast(pl.Float64).alias("value")).drop_nulls() for frame in frames]
    means = [value.mean().alias("mean"), value.std().fill_null(0.0).alias("std"), value.len().alias("seeds")]
    return pl.concat(parts).group_by(along).agg(means).sort(along)
