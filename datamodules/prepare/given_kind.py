"""Predictions as a table of the kind that their rows came in."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pyarrow as pa

from mtlzoo.datamodules.values.arrow import from_table


def in_kind(given: Any, columns: Mapping[str, npt.NDArray[Any]]) -> Any:
    """Columns as a table.

    Args:
        given: What the rows came in; see `mtlzoo.datamodules.prepare.frames.as_frame`.
        columns: By name: numbers [N], or [N, K], which become lists.

    Returns:
        A frame of pandas with the index of `given`, a frame (lazy where `given` was) of polars, a dictionary of lists,
        a list of dictionaries, or an Arrow table (a record batch where `given` was one).
    """
    if isinstance(given, pd.DataFrame):
        plain = {name: values if values.ndim == 1 else list(values) for name, values in columns.items()}
        return pd.DataFrame(plain, index=given.index)
    if isinstance(given, Mapping):
        return {name: values.tolist() for name, values in columns.items()}
    if isinstance(given, list):
        lists = [values.tolist() for values in columns.values()]
        return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]
    table = pa.table({name: _arrow(values) for name, values in columns.items()})
    if isinstance(given, pl.LazyFrame):
        return from_table(table).lazy()
    return from_table(table) if isinstance(given, pl.DataFrame) else _as_batch(given, table)


def _arrow(values: npt.NDArray[Any]) -> pa.Array:
    """Numbers, or lists of them."""
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def frame_in_kind(given: Any, frame: pl.DataFrame) -> Any:
    """A frame with rows of its own as a table of the kind of `given`, as `in_kind`; pandas numbers the rows anew."""
    if isinstance(given, pd.DataFrame):
        return frame.to_arrow(compat_level=pl.CompatLevel.oldest()).to_pandas()
    if isinstance(given, Mapping):
        return frame.to_dict(as_series=False)
    if isinstance(given, list):
        return frame.to_dicts()
    if isinstance(given, pl.LazyFrame):
        return frame.lazy()
    oldest = pl.CompatLevel.oldest()
    return frame if isinstance(given, pl.DataFrame) else _as_batch(given, frame.to_arrow(compat_level=oldest))


def _as_batch(given: Any, table: pa.Table) -> pa.Table | pa.RecordBatch:
    if not isinstance(given, pa.RecordBatch):
        return table
    return pa.record_batch([column.combine_chunks() for column in table.columns], names=table.column_names)
