"""Between Arrow and polars, in types that every version of Arrow knows."""

import polars as pl
import pyarrow as pa


def to_arrow(values: pl.Series) -> pa.Array:
    """The values as one array of a type that every Arrow version knows."""
    return values.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())


def compact(values: pl.Series) -> pa.Array:
    """The values; integers in the smallest type that holds them, as what waits on disk costs time by its size."""
    return to_arrow(values.shrink_dtype() if values.dtype.is_integer() else values)


def from_arrow(values: pa.Array) -> pl.Series:
    """The values as a series."""
    series = pl.from_arrow(values)
    assert isinstance(series, pl.Series)
    return series


def from_table(table: pa.Table) -> pl.DataFrame:
    """An Arrow table as a frame."""
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame
