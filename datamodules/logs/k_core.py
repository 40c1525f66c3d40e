"""The k-core of a log: the most rows of which every user and every item has at least k."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from mtlzoo.datamodules.errors import DataError

Read: TypeAlias = Callable[[], Iterator[pl.DataFrame]]
_PENDING = 1 << 20
"""Rows that wait to be numbered, at least; at most as many as there are distinct ids."""


def core_of(read: Read, k: int) -> Read:
    """A reader of the rows of the k-core, in their order; reads once to find them.

    Args:
        read: Yields the log from its beginning: columns ``user`` and ``item``, without null, and any others.
        k: Rows that every user and every item must have; 0 takes nothing out.

    Raises:
        DataError: No row is left.
    """
    if not k:
        return read
    kept = k_core(read(), k)
    if len(kept) and not kept.any():
        raise DataError(f"core={k}: none of the {len(kept):,} rows is left. Lower it.")

    def rows() -> Iterator[pl.DataFrame]:
        first = 0
        for frame in read():
            yield frame.filter(pl.Series(kept[first : first + len(frame)], dtype=pl.Boolean))
            first += len(frame)

    return rows


def k_core(pairs: Iterable[pl.DataFrame], k: int) -> npt.NDArray[np.bool_]:
    """Which rows stay when users and items with fewer than k rows are taken out until there are none.

    Memory grows with the distinct ids and, as two numbers each, with the rows.

    Args:
        pairs: Columns ``user`` and ``item``, without null.
        k: Rows that every user and every item must have.

    Returns:
        bool [rows].
    """
    codes = _numbered(pairs)
    kept = np.ones(len(codes[0]), np.bool_)
    while True:
        before = np.count_nonzero(kept)
        for each in codes:
            counts = np.bincount(each[kept], minlength=int(each.max(initial=-1)) + 1)
            kept &= (counts >= k)[each]
        if np.count_nonzero(kept) == before:
            return kept


def _numbered(pairs: Iterable[pl.DataFrame]) -> list[npt.NDArray[np.int32]]:
    """Users and items as numbers from 0."""
    columns = {"user": _Numbers(), "item": _Numbers()}
    waiting: dict[str, list[pl.Series]] = {name: [] for name in columns}
    rows = 0
    for frame in pairs:
        for name, values in waiting.items():
            values.append(frame[name])
        rows += len(frame)
        if rows >= max(_PENDING, *(len(numbers.known) for numbers in columns.values())):
            for name, numbers in columns.items():
                numbers.add(waiting[name])
                waiting[name] = []
            rows = 0
    return [numbers.add(waiting[name]).of() for name, numbers in columns.items()]


class _Numbers:
    """Numbers for the values of a column, a part of it at a time, as those are much smaller than texts."""

    def __init__(self) -> None:
        self.known = pl.DataFrame()
        self._numbers: list[npt.NDArray[np.int32]] = []

    def add(self, parts: list[pl.Series]) -> "_Numbers":
        if parts:
            values = pl.concat(parts)
            known = len(self.known)
            fresh = pl.DataFrame({"value": values.unique()})
            if known:
                fresh = fresh.join(self.known, on="value", how="anti")
            fresh = fresh.with_columns(number=pl.int_range(known, known + pl.len(), dtype=pl.Int32))
            self.known = pl.concat([self.known, fresh]) if known else fresh
            numbers = values.replace_strict(self.known["value"], self.known["number"], return_dtype=pl.Int32)
            self._numbers.append(numbers.to_numpy())
        return self

    def of(self) -> npt.NDArray[np.int32]:
        return np.concatenate(self._numbers) if self._numbers else np.empty(0, np.int32)
