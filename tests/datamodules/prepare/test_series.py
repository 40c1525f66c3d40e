"""Columns of every library are the same series."""

import decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mtlzoo.datamodules import DataError
from mtlzoo.datamodules.prepare.frames import as_frame
from mtlzoo.datamodules.prepare.series import as_series

NAN = float("nan")
VIEWS = pa.ListViewArray.from_arrays(
    pa.array([2, 0, 1], pa.int32()), pa.array([1, 2, 0], pa.int32()), pa.array([1, 2, 3])
)
WIDE = pa.array([decimal.Decimal("1.5"), None], pa.decimal256(60, 2))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2.5], [1.0, 2.5]),
        ([True, 2, 0.5], [1, 2, 0.5]),
        (["a", NAN, None, pd.NA], ["a", None, None, None]),
        ([NAN, 7, "007", 7.0], [None, "7", "007", "7.0"]),
        ([np.int64(7), "7", np.float32(0.1)], ["7", "7", "0.1"]),
        ([7, pd.NA], [7, None]),
        ([2**70, 1], [str(2**70), "1"]),
        ([2**53 + 1, 0.5], [str(2**53 + 1), "0.5"]),
        ([[1], NAN, [2.5]], [[1.0], None, [2.5]]),
        ([[1, "a", NAN], (), None, np.array(["b"])], [["1", "a", None], [], None, ["b"]]),
        (np.array([None, "a"], object), [None, "a"]),
        (np.array([1, 2.5, None], object), [1.0, 2.5, None]),
        (np.arange(2.0), [0.0, 1.0]),
        (range(2), [0, 1]),
        ((), []),
        (pd.Series([1, "a"]), ["1", "a"]),
        (pd.array([2**53 + 1, None], "Int64"), [2**53 + 1, None]),
        (VIEWS, [[3], [1, 2], []]),
        (pa.chunked_array([VIEWS, VIEWS[:0]]), [[3], [1, 2], []]),
        (pd.Series(WIDE, dtype=pd.ArrowDtype(WIDE.type)), [decimal.Decimal("1.5"), None]),
        (pa.RunEndEncodedArray.from_arrays([2, 3], [7, 8]), [7, 7, 8]),
    ],
)
@pytest.mark.every_case
def test_values_of_every_kind(values: Any, expected: list[Any]) -> None:
    series = as_series(values, "x")
    assert series.name == "x"
    assert series.to_list() == expected


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["3,1", [3]], r"column 'x' holds '3,1' and \[3\]: "),
        ([True, "a"], "column 'x' holds True and 'a': "),
        ([10**5000], "column 'x' holds an? int: "),
        (np.array(3), r"column 'x' is array\(3\); a column is a list"),
        ({"a": 1}, "column 'x' is {'a': 1}; a column"),
        (
            pa.array([decimal.Decimal(10**40)], pa.decimal256(60, 2)),
            r"column 'x' holds .*decimals have up to 38 digits",
        ),
    ],
)
@pytest.mark.every_case
def test_what_is_no_column_is_named(values: Any, said: str) -> None:
    with pytest.raises(DataError, match=f"^t: {said}"):
        as_frame({"x": values}, "t")


TABLES: dict[str, Any] = {
    "columns": {7: [], "a": [2], "x": [1], "y": 3, "z": [object()]},
    "rows": [{7: 1, "a": 2, "x": 1, "z": object()}],
    "pandas": pd.DataFrame([[1, 2, 3, 4, 1j]], columns=["x", "a", "y", "y", 7]),
    "an index": pd.DataFrame({"x": [1]}, pd.MultiIndex.from_arrays([[2], [3], [4]], names=["a", "i", "i"])),
    "arrow": pa.table([[1], [2], WIDE[:1], [4]], ["x", "a", "y", "y"]),
    "lazy": pl.LazyFrame({"x": 1, "a": 2, "z": "no"}).with_columns(z=pl.col("z").str.to_date("%Y")),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
@pytest.mark.every_case
def test_other_columns_are_not_looked_at(table: Any) -> None:
    assert as_frame(table, "t", ["a", "x"]).to_dict(as_series=False) == {"a": [2], "x": [1]}
    with pytest.raises(DataError, match=r"t: (no column \['b'\]; it has \[.*'x'|a column is named 7)"):
        as_frame(table, "t", ["b"])


def test_a_query_that_fails_is_named() -> None:
    with pytest.raises(DataError, match=r"t: .*conversion from `str` to `date` failed"):
        as_frame(TABLES["lazy"], "t")
