"""Gramians of gradients: inner products in float64, in blocks that stay in the cache."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

_SHORT = 512
"""Columns of one of the products that a Gramian is the sum of."""


def gramian(rows: Sequence[Tensor] | Tensor) -> Tensor:
    """Inner products of T tensors of one shape, or of the rows of a matrix: [T, T] in float64, however long.

    Args:
        rows: T tensors, or [T, columns].
    """
    tasks, some = len(rows), rows[0]
    step = max(1, _numbers_at_a_time(some) // max(tasks * prod(some.shape[1:]), 1))
    total = torch.zeros(tasks, tasks, dtype=torch.float64, device=some.device)
    # One block for all parts: to get new memory for each takes a quarter of the time.
    exact = total.new_empty(tasks, min(step, len(some)), *some.shape[1:])
    for start in range(0, len(some), step):
        part = exact[:, : len(some) - start]
        end = start + step
        part.copy_(rows[:, start:end] if isinstance(rows, Tensor) else torch.stack([row[start:end] for row in rows]))
        flat = part.flatten(1)
        # Long rows times each other keep a processor waiting; many short ones don't.
        whole = flat.shape[1] // _SHORT * _SHORT
        short, rest = flat[:, :whole].unflatten(1, (-1, _SHORT)).transpose(0, 1), flat[:, whole:]
        total += torch.bmm(short, short.mT).sum(0)
        total.addmm_(rest, rest.T)
    return total


def write_gramians(part: Tensor, gramians: Tensor) -> None:
    """Inner products within each of a matrix's groups of columns.

    Args:
        part: [T, groups * dim].
        gramians: [groups, T, T] in float64, to write them into.
    """
    if len(gramians) == 1:
        gramians[0] = gramian(part)
        return
    rows = split_groups(part, len(gramians)).transpose(0, 1)
    step = max(1, _numbers_at_a_time(part) // max(rows[:1].numel(), 1))
    for start in range(0, len(rows), step):
        exact = rows[start : start + step].double()
        torch.bmm(exact, exact.mT, out=gramians[start : start + step])


def split_groups(part: Tensor, groups: int) -> Tensor:
    """[T, groups * dim] -> [T, groups, dim]."""
    return part.view(len(part), groups, part.shape[1] // max(groups, 1))


def names_of_bad(names: Sequence[str], gramians: Tensor) -> list[str]:
    """Tasks with a gradient that is not finite; waits for the device."""
    finite = gramians.diagonal(dim1=-2, dim2=-1).flatten(0, -2).isfinite().all(0).tolist()
    return [name for name, good in zip(names, finite, strict=True) if not good]


def _numbers_at_a_time(tensor: Tensor) -> int:
    """What stays in the cache of a processor; on a GPU, what keeps all of it busy."""
    return 1 << 18 if tensor.device.type == "cpu" else 1 << 24
