"""The k-core of a log: the most rows of which every user and every item has at least k."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import polars as pl


def k_core(pairs: Iterable[pl.DataFrame], k: int) -> npt.NDArray[np.bool_]:
    """Which rows stay when users and items with fewer than k rows are taken out until there are none.

    Memory grows with the rows by some 20 bytes each, and with the distinct ids.

    Args:
        pairs: Columns ``user`` and ``item``, without null.
        k: Rows that every user and every item must have.

    Returns:
        bool [rows].
    """
    frames = [frame.select("user", "item") for frame in pairs]
    rows = pl.concat(frames) if frames else pl.DataFrame({"user": [], "item": []})
    codes = [_numbered(rows[name]) for name in ("user", "item")]
    del frames, rows
    kept = np.ones(len(codes[0]), np.bool_)
    while True:
        before = np.count_nonzero(kept)
        for each in codes:
            counts = np.bincount(each[kept], minlength=int(each.max(initial=-1)) + 1)
            kept &= counts[each] >= k
        if np.count_nonzero(kept) == before:
            return kept


def _numbered(values: pl.Series) -> npt.NDArray[np.int64]:
    if values.dtype.is_integer():
        return np.unique(values.to_numpy(), return_inverse=True)[1].astype(np.int64)
    return values.cast(pl.Categorical).to_physical().to_numpy().astype(np.int64)
