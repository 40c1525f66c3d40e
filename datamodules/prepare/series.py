"""One column in memory, of whatever library holds it, as a series of polars."""

import sys
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd

UNREADABLE = (
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    pa.ArrowException,
    TypeError,
    ValueError,
    OverflowError,
)
"""What libraries raise at values that are no column."""
_LISTS = (list, tuple, set, frozenset, np.ndarray, pl.Series)


def as_series(values: Any, name: str) -> pl.Series:
    """Values of pandas, polars, Arrow, NumPy or of anything with a length, under a name.

    Among values of Python, None and what pandas and NumPy write for it are missing, true and false beside numbers are 1
    and 0, and numbers are texts where they stand beside texts, or where no number of 64 bits is what they are.

    Raises:
        UNREADABLE: What is no column.
    """
    if isinstance(values, list):
        return _of_values(values, name)
    pandas = sys.modules.get("pandas")  # not imported for that: a third of a second
    if isinstance(values, pl.Series):
        return values.alias(name)
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return _of_arrow(values, name)
    if pandas is not None and isinstance(values, pandas.Series | pandas.Index | pandas.api.extensions.ExtensionArray):
        return _of_pandas(pandas.Series(values), name)
    if hasattr(values, "__array__"):
        values = values if isinstance(values, np.ndarray) else np.asarray(values)
        if values.dtype != object:
            return pl.Series(name, values)
    return _of_values(list(values), name)


def _of_pandas(values: "pd.Series[Any]", name: str) -> pl.Series:
    import pandas as pd

    if isinstance(values.dtype, pd.CategoricalDtype):  # of numbers too
        values = values.astype(values.cat.categories.dtype if not values.hasnans else object)
    if isinstance(values.dtype, pd.SparseDtype):
        values = values.astype(values.dtype.subtype)
    if isinstance(values.dtype, pd.ArrowDtype):
        return _of_arrow(values.array.__arrow_array__(), name)
    return _of_values(values.tolist(), name) if values.dtype == object else pl.from_pandas(values).alias(name)


def _of_arrow(values: pa.Array | pa.ChunkedArray, name: str) -> pl.Series:
    kind, types = values.type, pa.types
    # Polars reads none of these, and Arrow's own casts of views are damaged (26.0.1).
    unread = (types.is_list_view, types.is_large_list_view, types.is_run_end_encoded, types.is_decimal256)
    return _of_values(values.to_pylist(), name) if any(is_one(kind) for is_one in unread) else pl.Series(name, values)


def _of_values(values: list[Any], name: str) -> pl.Series:
    try:
        return pl.Series(name, _array(values))
    except UNREADABLE:
        if (alike := _alike(values)) is None:
            raise
    return pl.Series(name, _array(alike))


def _array(values: list[Any]) -> pa.Array:
    array = pa.array(values, from_pandas=True)  # NaN and NA are missing
    if pa.types.is_decimal256(array.type):
        raise ValueError("decimals have up to 38 digits")
    return array


def _alike(values: Sequence[Any]) -> list[Any] | None:
    """Values of kinds that go together as values of one kind; None where they do not."""
    import pandas as pd

    values = [None if value is None or pd.isna(value) is True else value for value in values]
    there = [value for value in values if value is not None]
    if there and all(isinstance(value, _LISTS) for value in there):
        if (alike := _alike([item for value in there for item in value])) is None:
            return None
        items = iter(alike)
        return [value if value is None else [next(items) for _ in value] for value in values]
    if all(isinstance(value, str) or _is_number(value) for value in there):
        return [value if value is None or isinstance(value, str) else str(value) for value in values]
    if all(isinstance(value, bool | np.bool_) or _is_number(value) for value in there):
        return [value if value is None else value * 1 for value in values]
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def kinds(values: Any) -> str:
    """The first value and one of another type, where there are any, for messages."""
    try:
        there = [value for value in values if value is not None]
    except TypeError:
        return ""
    other = next((value for value in there if type(value) is not type(there[0])), None)
    return " and ".join(_shown(value) for value in (*there[:1], other) if value is not None)


def _shown(value: Any) -> str:
    try:
        return repr(value)[:60]
    except ValueError:  # an integer of thousands of digits
        return f"a {type(value).__name__}"


def is_column(values: Any) -> bool:
    """Whether it is a list or an array, and not one value."""
    return (
        not isinstance(values, str | bytes | Mapping) and hasattr(values, "__len__") and getattr(values, "ndim", 1) > 0
    )
