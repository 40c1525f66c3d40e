"""How many rows a batch has, in any project."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor


def rows_of(batch: Any) -> int:
    """Length of the first tensor in a batch, however nested; 0 where there is none."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.dim() else 1
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, Sequence) else ()
    return next((rows for part in parts if not isinstance(part, str) and (rows := rows_of(part))), 0)
