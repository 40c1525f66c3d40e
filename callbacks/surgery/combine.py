"""From T gradients to one: the groups' Gramians, and the weighted sums."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from itertools import groupby
from typing import TypeAlias

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.base import GradientRule
from mtlzoo.callbacks.surgery.gramians import split_groups, write_gramians
from mtlzoo.callbacks.surgery.groups import Groups
from mtlzoo.callbacks.surgery.reals import real, restore
from mtlzoo.callbacks.surgery.task_gradients import ParameterGradients

Weigh: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Gramians [G, T, T] in float64 and the numbers of their groups [G], to weights [G, T]."""


def combine(
    shared: Mapping[Tensor, ParameterGradients], tasks: int, groups: Groups, rule: Weigh
) -> dict[Tensor, Tensor]:
    """One gradient for every shared parameter, by weights.

    Args:
        shared: Settled gradients of the parameters that two tasks or more reach.
        tasks: T.
        groups: What one Gramian is taken over.
        rule: Gives the weights, in one call for all groups.

    Returns:
        By parameter: its gradient, sparse where its lookups ask for that.
    """
    matrix, sizes = _matrix(shared, tasks)
    segments = [list(members) for _, members in groupby(shared, groups.segment)]
    parts = matrix.split([sum(sizes[parameter] for parameter in members) for members in segments], 1)
    numbers = [_numbers(members, shared, groups) if groups.ruled(members[0]) else None for members in segments]
    asked = [n for n in numbers if n is not None]
    counts = [len(n) for n in asked]
    gramians = torch.empty(sum(counts), tasks, tasks, dtype=torch.float64, device=matrix.device)
    ruled = [part for part, n in zip(parts, numbers, strict=True) if n is not None]
    for part, out in zip(ruled, gramians.split(counts), strict=True):
        write_gramians(part, out)
    weights = iter(rule(gramians, torch.cat(asked)).split(counts) if asked else ())
    made: dict[Tensor, Tensor] = {}
    for members, part, n in zip(segments, parts, numbers, strict=True):
        whole = part.sum(0) if n is None else _weighted(part, next(weights))
        for parameter, one in zip(members, whole.split([sizes[p] for p in members]), strict=True):
            made[parameter] = spread(parameter, shared[parameter], one)
    return made


def transform(
    shared: Mapping[Tensor, ParameterGradients], rule: GradientRule, losses: Tensor, scale: Tensor | None = None
) -> dict[Tensor, Tensor]:
    """One gradient for every shared parameter, by a rule that makes it of the gradients themselves.

    Args:
        shared: Settled gradients of the parameters that two tasks or more reach, in the same order in every step.
        rule: The rule.
        losses: [T].
        scale: What a scaler of losses has multiplied the gradients by, if there is one; the rule sees them without it.

    Returns:
        By parameter: its gradient, sparse where its lookups ask for that.

    Raises:
        ValueError: A sparse table for a rule that takes whole gradients.
    """

    def ruled(gradients: Tensor) -> Tensor:
        made: Tensor = rule(gradients if scale is None else gradients / scale, losses=losses)
        return made if scale is None else made * scale

    blocks = {parameter: _block(parameter, entry, len(losses)) for parameter, entry in shared.items()}
    if not rule.whole:
        return {p: spread(p, shared[p], ruled(block)) for p, block in blocks.items()}
    if any(entry.sparse for entry in shared.values()):
        raise ValueError(
            f"{type(rule).__name__} keeps something of every row of a table, and this module has tables with "
            "sparse=True. Use dense ones, or a rule without such a state, such as SDMGrad."
        )
    every = {
        p: torch.stack([real(spread(p, shared[p], one)).flatten() for one in block]) for p, block in blocks.items()
    }
    parts = ruled(torch.cat(list(every.values()), 1)).split([block.shape[1] for block in every.values()])
    return {p: restore(p, part) for p, part in zip(every, parts, strict=True)}


def private(parameter: Tensor, entry: ParameterGradients) -> Tensor | None:
    """The gradient of a parameter that one task alone reaches; None where it came to none."""
    gradients = entry.rows[0].values if entry.rows else entry.dense
    if not gradients:
        # All that came was zero, and an optimiser tells that from none.
        return None if entry.certain or entry.sparse else torch.zeros_like(parameter)
    (gradient,) = gradients.values()
    # That of autograd may share its memory with another's, as of two biases that are added; clipping works in place.
    return spread(parameter, entry, gradient if entry.rows else gradient.clone())


def _block(parameter: Tensor, entry: ParameterGradients, tasks: int) -> Tensor:
    """Gradients of all tasks, [T, ...] or, by row, [T, U, dim]; zero for tasks that don't reach it."""
    found = entry.rows[0].values if entry.rows else entry.dense
    none = None if len(found) == tasks else torch.zeros_like(next(iter(found.values()), real(parameter.detach())))
    return torch.stack([found.get(task, none) for task in range(tasks)])  # type: ignore[misc]  # zeros where needed


def _matrix(shared: Mapping[Tensor, ParameterGradients], tasks: int) -> tuple[Tensor, dict[Tensor, int]]:
    """The gradients of all tasks, [T, columns], parameter after parameter, and how many columns each has."""
    found = {p: entry.rows[0].values if entry.rows else entry.dense for p, entry in shared.items()}
    sizes = {p: next(iter(by_task.values())).numel() for p, by_task in found.items()}
    none = {p: torch.zeros_like(next(iter(found[p].values()))) for p in found if len(found[p]) < tasks}
    dtype = reduce(torch.promote_types, (p.dtype.to_real() for p in shared))
    matrix = torch.empty(tasks, sum(sizes.values()), dtype=dtype, device=next(iter(shared)).device)
    for task, row in enumerate(matrix):
        pieces = [by_task.get(task, none.get(p)) for p, by_task in found.items()]
        torch.cat([piece.reshape(-1) for piece in pieces], out=row)  # type: ignore[union-attr]  # zeros where needed
        # The matrix takes the place of what it was made of: nothing is held twice.
        for by_task, part in zip(found.values(), row.split(list(sizes.values())), strict=True):
            if task in by_task:
                by_task[task] = part.view_as(by_task[task])
    return matrix, sizes


def _weighted(part: Tensor, weights: Tensor) -> Tensor:
    """[T, groups * dim] and [groups, T] -> [groups * dim]."""
    weights = weights.to(part.dtype)
    if len(weights) == 1:
        return weights[0] @ part
    rows = split_groups(part, len(weights))
    total = torch.zeros_like(rows[0])
    for task, gradient in enumerate(rows):
        total.addcmul_(gradient, weights[:, task, None])
    return total.flatten()


def _numbers(members: Sequence[Tensor], shared: Mapping[Tensor, ParameterGradients], groups: Groups) -> Tensor:
    """The numbers of a segment's groups."""
    if members[0] not in groups.tables:
        return torch.full((1,), groups.first[members[0]], device=members[0].device)
    rows = [shared[p].rows[0].index if shared[p].rows else torch.arange(len(p), device=p.device) for p in members]
    return torch.cat([groups.first[p] + index for p, index in zip(members, rows, strict=True)])


def spread(parameter: Tensor, entry: ParameterGradients, gradient: Tensor) -> Tensor:
    """The gradient in the shape of the parameter, from that of its touched rows."""
    if not entry.rows:
        return restore(parameter, gradient)
    gradient = gradient.view(-1, parameter.shape[1])
    index = entry.rows[0].index.long()
    if entry.sparse:
        return torch.sparse_coo_tensor(
            index[None], gradient, parameter.shape, is_coalesced=True, check_invariants=False
        )
    return torch.zeros_like(parameter).index_copy_(0, index, gradient)
