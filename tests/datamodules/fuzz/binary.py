"""Files of MATLAB and Parquet, as their cells may be."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import pyarrow.parquet as pq

from fuzz.damage import BYTES
from fuzz.damage_binary import MATRIX, PARQUET
from fuzz.forms import Form, Rows
from fuzz.values import Allowed, InvalidError


@dataclass(frozen=True)
class Matrix(Form):
    """A variable of a MATLAB file.

    Args:
        names: Of the variable, the first that is there.
        columns: What the columns that are read may hold.
        widths: How many columns there may be.
    """

    kinds: ClassVar[tuple[str, ...]] = (*BYTES, *3 * tuple(MATRIX))

    names: Sequence[str] = ()
    columns: Sequence[Callable[[float], bool]] = ()
    widths: Sequence[int] = ()

    @property
    def place(self) -> int:
        """Links are told by the first column."""
        return 0

    def rows(self, data: bytes) -> Rows:
        """Numbers of the columns."""
        from scipy.io import loadmat

        try:
            found = loadmat(io.BytesIO(data))
        except Exception as error:
            raise InvalidError(error) from None
        matrix = next((found[name] for name in self.names if name in found), None)
        if matrix is None or getattr(matrix, "ndim", 0) != 2 or matrix.shape[1] not in self.widths:
            raise InvalidError("no such matrix")
        if matrix.dtype.kind not in "iuf" or not len(matrix):
            raise InvalidError("no numbers")
        rows = [tuple(row[: len(self.columns)]) for row in matrix.tolist()]
        for row in rows:
            for allowed, cell in zip(self.columns, row, strict=True):
                if not (math.isfinite(cell) and cell == int(cell) and allowed(cell)):
                    raise InvalidError(cell)
        return [tuple(str(int(cell)) for cell in row) for row in rows]


@dataclass(frozen=True)
class Columns(Form):
    """A Parquet file.

    Args:
        columns: What is read, and what it may hold.
    """

    columns: Mapping[str, Allowed] = field(default_factory=dict)
    kinds: ClassVar[tuple[str, ...]] = (*BYTES, *3 * tuple(PARQUET))

    @property
    def place(self) -> int:
        """Of the key among the cells."""
        return list(self.columns).index(self.key)

    def rows(self, data: bytes) -> Rows:
        """Values of the columns."""
        try:
            table = pq.read_table(io.BytesIO(data), columns=list(self.columns))
        except Exception as error:
            raise InvalidError(error) from None
        if not len(table) or table.num_columns < len(self.columns):
            raise InvalidError("no rows")
        rows = list(zip(*(table[name].to_pylist() for name in self.columns), strict=True))
        for row in rows:
            for (name, allowed), cell in zip(self.columns.items(), row, strict=True):
                if not allowed(cell):
                    raise InvalidError(f"{name} {cell!r}")
        return [tuple(map(repr, row)) for row in rows]
