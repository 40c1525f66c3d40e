"""From T gradients to one: groups, their Gramians, and the weighted sums."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.base import GradientRule
from mtlzoo.callbacks.task_gradients import ParameterGradients

Level: TypeAlias = Literal["model", "parameter", "row"]
Others: TypeAlias = Literal["rule", "sum"]
Weigh: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Gramians [G, T, T] in float64 and the numbers of their groups [G], to weights [G, T]."""

_COLUMNS = 1 << 15
"""At a time, so that they stay in the cache of a processor."""


@dataclass(frozen=True)
class Groups:
    """What a Gramian is taken over: numbers that stay the same through the training.

    Args:
        level: ``model``: all shared parameters; ``parameter``: each tensor; ``row``: each row of each table, and each
            other tensor.
        first: Number of each parameter's (first) group.
        total: Number of groups.
        tables: Parameters whose rows are groups.
        others: What shared parameters that are no tables get at level ``row``: the rule's weights or the plain sum.
    """

    level: Level
    first: Mapping[Tensor, int]
    total: int
    tables: frozenset[Tensor]
    others: Others = "rule"

    @staticmethod
    def of(level: Level, parameters: Iterable[Tensor], tables: Iterable[Tensor], others: Others = "rule") -> "Groups":
        """Numbers the groups of a module's parameters, in their order."""
        by_row = frozenset(tables) if level == "row" else frozenset()
        first, total = {}, 0
        for parameter in parameters:
            first[parameter] = total
            total += 0 if level == "model" else len(parameter) if parameter in by_row else 1
        return Groups(level, first, max(total, 1), by_row, others)

    def ruled(self, parameter: Tensor) -> bool:
        """Whether the rule decides about a parameter that tasks share."""
        return self.others == "rule" or parameter in self.tables


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
    blocks = {parameter: _block(parameter, entry, tasks) for parameter, entry in shared.items()}
    if groups.level == "model":
        device = next(iter(blocks.values())).device
        total = torch.zeros(tasks, tasks, dtype=torch.float64, device=device)
        for block in blocks.values():
            total += gramian(block.reshape(tasks, -1))
        (weights,) = rule(total[None], torch.zeros(1, dtype=torch.int64, device=device))
        return {p: spread(p, shared[p], _weighted(block, weights)) for p, block in blocks.items()}
    summed = {p: spread(p, shared[p], blocks.pop(p).sum(0)) for p in shared if not groups.ruled(p)}
    if not blocks:
        return summed
    gramians = [
        _row_gramians(b) if p in groups.tables else gramian(b.reshape(tasks, -1))[None] for p, b in blocks.items()
    ]
    numbers = [_numbers(parameter, shared[parameter], groups) for parameter in blocks]
    parts = rule(torch.cat(gramians), torch.cat(numbers)).split([len(part) for part in gramians])
    return summed | {
        p: spread(p, shared[p], _weighted_rows(block, part) if p in groups.tables else _weighted(block, part[0]))
        for (p, block), part in zip(blocks.items(), parts, strict=True)
    }


def transform(shared: Mapping[Tensor, ParameterGradients], rule: GradientRule, losses: Tensor) -> dict[Tensor, Tensor]:
    """One gradient for every shared parameter, by a rule that makes it of the gradients themselves.

    Args:
        shared: Settled gradients of the parameters that two tasks or more reach, in the same order in every step.
        rule: The rule.
        losses: [T].

    Returns:
        By parameter: its gradient, sparse where its lookups ask for that.

    Raises:
        ValueError: A sparse table for a rule that takes whole gradients.
    """
    blocks = {parameter: _block(parameter, entry, len(losses)) for parameter, entry in shared.items()}
    if not rule.whole:
        return {p: spread(p, shared[p], rule(block, losses=losses)) for p, block in blocks.items()}
    if any(entry.sparse for entry in shared.values()):
        raise ValueError(
            f"{type(rule).__name__} keeps something of every row of a table, and this module has tables with "
            "sparse=True. Use dense ones, or a rule without such a state, such as SDMGrad."
        )
    every = {p: torch.stack([spread(p, shared[p], one) for one in block]) for p, block in blocks.items()}
    whole = rule(torch.cat([block.reshape(len(losses), -1) for block in every.values()], 1), losses=losses)
    parts = whole.split([parameter.numel() for parameter in every])
    return {p: part.view_as(p) for p, part in zip(every, parts, strict=True)}


def private(parameter: Tensor, entry: ParameterGradients) -> Tensor | None:
    """The gradient of a parameter that one task alone reaches; None where it came to none."""
    gradients = entry.rows[0].values if entry.rows else entry.dense
    if not gradients:
        return None
    (gradient,) = gradients.values()
    return spread(parameter, entry, gradient)


def _block(parameter: Tensor, entry: ParameterGradients, tasks: int) -> Tensor:
    """Gradients of all tasks, [T, ...] or, by row, [T, U, dim]; zero for tasks that don't reach it."""
    found = entry.rows[0].values if entry.rows else entry.dense
    zeros = None if len(found) == tasks else torch.zeros_like(next(iter(found.values()), parameter))
    return torch.stack([found.get(task, zeros) for task in range(tasks)])  # type: ignore[misc]  # zeros where needed


def gramian(rows: Sequence[Tensor] | Tensor) -> Tensor:
    """Inner products of T rows of the same length, or of a matrix's: [T, T] in float64, however long they are."""
    rows, columns = list(rows), rows[0].numel()
    if columns <= _COLUMNS:
        exact = torch.stack(rows).double()
        return exact @ exact.T
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows[0].device)
    # One block for all parts: to get new memory for each takes a quarter of the time.
    exact = total.new_empty(len(rows), _COLUMNS)
    for start in range(0, columns, _COLUMNS):
        part = exact[:, : columns - start]
        for to, row in zip(part, rows, strict=True):
            to.copy_(row[start : start + _COLUMNS])
        total.addmm_(part, part.T)
    return total


def _row_gramians(block: Tensor) -> Tensor:
    """[T, U, dim] -> [U, T, T] in float64."""
    exact = block.double()
    gramians = exact.new_empty(block.shape[1], len(block), len(block))
    for s, one in enumerate(exact):
        for t in range(s + 1):
            gramians[:, s, t] = gramians[:, t, s] = (one * exact[t]).sum(-1)
    return gramians


def _numbers(parameter: Tensor, entry: ParameterGradients, groups: Groups) -> Tensor:
    first = groups.first[parameter]
    if parameter not in groups.tables:
        return torch.tensor([first], device=parameter.device)
    rows = entry.rows[0].index if entry.rows else torch.arange(len(parameter), device=parameter.device)
    return first + rows


def _weighted(block: Tensor, weights: Tensor) -> Tensor:
    return (weights.to(block.dtype) @ block.reshape(len(block), -1)).view(block.shape[1:])


def _weighted_rows(block: Tensor, weights: Tensor) -> Tensor:
    total = torch.zeros_like(block[0])
    for task, gradient in enumerate(block):
        total.addcmul_(gradient, weights[:, task, None].to(block.dtype))
    return total


def spread(parameter: Tensor, entry: ParameterGradients, gradient: Tensor) -> Tensor:
    """The gradient in the shape of the parameter, from that of its touched rows."""
    if not entry.rows:
        return gradient
    index = entry.rows[0].index.long()
    if entry.sparse:
        return torch.sparse_coo_tensor(
            index[None], gradient, parameter.shape, is_coalesced=True, check_invariants=False
        )
    return torch.zeros_like(parameter).index_copy_(0, index, gradient)
