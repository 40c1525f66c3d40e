"""Ways to damage the tables in files of MATLAB and Parquet."""

import io
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from scipy.io import loadmat, savemat

from fuzz.damage_text import Damage


def _matrix(change: Callable[[Any, random.Random], Any]) -> Damage:
    """Changes the variable of a MATLAB file."""

    def damage(data: bytes, draw: random.Random, separator: str) -> bytes:
        name, matrix = next((k, v) for k, v in loadmat(io.BytesIO(data)).items() if not k.startswith("_"))
        file = io.BytesIO()
        savemat(file, {draw.choice([name, name, name, name, "x"]): change(matrix, draw)})
        return file.getvalue()

    return damage


def _number(matrix: Any, draw: random.Random) -> Any:
    changed = matrix.astype(np.float64)
    place = draw.randrange(len(matrix)), draw.randrange(matrix.shape[1])
    changed[place] = draw.choice([0, -1, 1.5, 3, 6, 29, 2**31, 2**53, 1e300, np.nan, np.inf, changed[0, 0]])
    return changed


MATRIX: dict[str, Damage] = {
    "number": _matrix(_number),
    "matrix column dropped": _matrix(lambda matrix, draw: np.delete(matrix, draw.randrange(matrix.shape[1]), 1)),
    "matrix columns swapped": _matrix(
        lambda matrix, draw: matrix[:, draw.sample(range(matrix.shape[1]), matrix.shape[1])]
    ),
    "matrix row dropped": _matrix(lambda matrix, draw: np.delete(matrix, draw.randrange(len(matrix)), 0)),
    "matrix turned": _matrix(lambda matrix, draw: matrix.T),
    "matrix halved": _matrix(lambda matrix, draw: matrix[: draw.choice([0, 1, len(matrix) // 2])]),
    "matrix of another type": _matrix(
        lambda matrix, draw: matrix.astype(draw.choice([np.int8, np.complex128, np.bool_]))
    ),
}
"""Of MATLAB files."""


def _parquet(change: Callable[[pl.DataFrame, str, int, random.Random], pl.DataFrame]) -> Damage:
    """Changes the table of a Parquet file, at a column and a row."""

    def damage(data: bytes, draw: random.Random, separator: str) -> bytes | None:
        table = pl.read_parquet(data)
        file = io.BytesIO()
        try:
            changed = change(table, draw.choice(table.columns), draw.randrange(len(table)), draw)
        except (pl.exceptions.PolarsError, TypeError, OverflowError):
            return None
        changed.write_parquet(file)
        return file.getvalue()

    return damage


def _value(table: pl.DataFrame, name: str, row: int, draw: random.Random) -> pl.DataFrame:
    nasty: list[Any] = [
        None,
        float("nan"),
        float("inf"),
        -1,
        0,
        1,
        2,
        3,
        1.5,
        1e300,
        2**62,
        "",
        "abc",
        "0x1",
        "\x00",
        "9",
    ]
    values = table[name].to_list()
    values[row] = draw.choice(nasty)
    return table.with_columns(pl.Series(name, values, dtype=draw.choice([table.schema[name], None]), strict=False))


def _retyped(table: pl.DataFrame, name: str, row: int, draw: random.Random) -> pl.DataFrame:
    to = draw.choice([pl.String(), pl.Float32(), pl.Int8(), pl.UInt64(), pl.Boolean(), pl.Date(), pl.List(pl.Int64())])
    return table.with_columns(pl.col(name).cast(to, strict=False))


PARQUET: dict[str, Damage] = {
    "value": _parquet(_value),
    "another value": _parquet(_value),
    "retyped": _parquet(_retyped),
    "column left out": _parquet(lambda table, name, row, draw: table.drop(name)),
    "column renamed": _parquet(lambda table, name, row, draw: table.rename({name: f"{name} "})),
    "columns exchanged": _parquet(
        lambda table, name, row, draw: table.rename({name: table.columns[0], table.columns[0]: name})
    ),
    "rows cut": _parquet(lambda table, name, row, draw: table[: draw.choice([0, 1, row])]),
    "rows doubled": _parquet(lambda table, name, row, draw: pl.concat([table, table[row : row + 5]])),
}
"""Of Parquet files."""
