"""Gradients of embedding tables by touched row: [tasks, touched, dim], never [tasks, rows, dim]."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mtlzoo.callbacks.surgery.merging import Merging, settle

_LARGE = 1 << 16


@dataclass
class Rows:
    """Per-task gradients of the rows of one table that any task touches.

    Args:
        index: [U], ascending, each row once.
        values: By task, [U, dim].
    """

    index: Tensor
    values: dict[int, Tensor]


def merge(tables: Sequence[Sequence[Rows]]) -> list[Rows]:
    """Of each table the sum of gradients that touch different rows.

    The host waits for the device once, for how many rows each touches; not at all where none has several gradients.
    """
    mergings = {n: Merging([part.index for part in parts]) for n, parts in enumerate(tables) if len(parts) > 1}
    settle(list(mergings.values()))
    return [_summed(mergings[n], parts) if n in mergings else parts[0] for n, parts in enumerate(tables)]


def _summed(merging: Merging, parts: Sequence[Rows]) -> Rows:
    values = {}
    for task in sorted({task for part in parts for task in part.values}):
        like = next(part.values[task] for part in parts if task in part.values)
        values[task] = merging(
            [part.values.get(task, like.new_zeros(len(part.index), like.shape[1])) for part in parts]
        )
    return Rows(merging.index, values)


def touched_rows(gradient: Tensor) -> Tensor | None:
    """The rows of a table's gradient that are not all zero, ascending; None if it is no large table or most are not.

    For tables that are looked up where autograd can't see it: one gradient of the whole table comes to be, not T.
    """
    if gradient.dim() != 2 or gradient.numel() < _LARGE:
        return None
    rows = gradient.any(1).nonzero().squeeze(1)
    return rows if 2 * len(rows) <= len(gradient) else None
