"""Whether numbers may be spelt as Arrow reads them and nobody writes them."""

from functools import reduce
from operator import or_

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_WINDOW = 1 << 16
"""Bytes that are looked at at once: few enough for the processor's cache."""


def is_number(dtype: pa.DataType) -> bool:
    """Whether a column of that type holds numbers."""
    return bool(pa.types.is_integer(dtype) or pa.types.is_floating(dtype))


def odd(data: bytes, table: pa.Table, separator: str, strip: bool) -> bool:
    """Whether numbers of the block may be spelt as nobody does; one look at all costs less than one at each."""
    if not any(is_number(column.type) for column in table.columns):
        return False
    floats = [column for column in table.columns if pa.types.is_floating(column.type)]
    if not all(pc.all(pc.is_finite(column), min_count=0).as_py() for column in floats):
        return True
    blanks = b"" if strip else b" \t".replace(separator.encode(), b"")
    marks = [mark for mark in b"xX+" + blanks if mark in data]
    if not marks:
        return False
    if data[0] in b"+" + blanks or data[-1] in blanks:
        return True
    ends = separator.encode() + b'\n\r"'
    begins = {mark: _among(b"0") for mark in b"xX"} | {ord("+"): _among(ends + b" \t" if strip else ends)}
    text = np.frombuffer(data, np.uint8)
    for start in range(0, len(text), _WINDOW):  # comparisons of bytes, many times faster than a regular expression
        part = text[start : start + _WINDOW + 1]
        edge = reduce(or_, (part == end for end in ends)) if set(blanks) & set(marks) else None
        for mark in marks:
            there = part == mark
            if mark in begins:  # few, so one is looked up after the other
                if begins[mark][part[np.flatnonzero(there[1:])]].any():
                    return True
            elif edge is not None and ((there[1:] & edge[:-1]).any() or (there[:-1] & edge[1:]).any()):
                return True
    return False


def _among(data: bytes) -> npt.NDArray[np.bool_]:
    """For each of the 256 bytes, whether it is one of these."""
    return np.isin(np.arange(256), list(data))
