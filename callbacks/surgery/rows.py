"""Gradients of embedding tables by touched row: [tasks, touched, dim], never [tasks, rows, dim]."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mtlzoo.callbacks.equal_runs import firsts

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


def merge(parts: Sequence[Rows]) -> Rows:
    """The sum of gradients that touch different rows."""
    if len(parts) == 1:
        return parts[0]
    ordered, order = torch.cat([part.index for part in parts]).sort(stable=True)
    places = firsts(ordered).nonzero().squeeze(1)
    values = {}
    for task in sorted({task for part in parts for task in part.values}):
        like = next(part.values[task] for part in parts if task in part.values)
        found = [part.values.get(task, like.new_zeros(len(part.index), like.shape[1])) for part in parts]
        values[task] = nn.functional.embedding_bag(order, torch.cat(found), places, mode="sum")
    return Rows(ordered[places].long(), values)


def touched_rows(gradient: Tensor) -> Tensor | None:
    """The rows of a table's gradient that are not all zero, ascending; None if it is no large table or most are not.

    For tables that are looked up where autograd can't see it: one gradient of the whole table comes to be, not T.
    """
    if gradient.dim() != 2 or gradient.numel() < _LARGE:
        return None
    rows = gradient.any(1).nonzero().squeeze(1)
    return rows if 2 * len(rows) <= len(gradient) else None
