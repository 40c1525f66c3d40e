"""Backward passes of single tasks: one after another or, where tasks are many and their graph is small, together.

A pass of a small network costs more in calls than in arithmetic. So where one node gives the losses of many tasks (one
layer for all of them, and a mean by column), it runs once, with the tasks as a leading dimension (`vmap`).
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

from mtlzoo.callbacks.surgery.graph import Mask, TaskGraph

MANY = 16
"""Tasks from which on passes run together."""
SMALL = 1 << 19
"""Numbers that one pass computes at most, for passes to run together."""
TOGETHER = 1 << 25
"""Numbers that passes which run together compute at most."""

_NOT_TOGETHER: set[frozenset[str]] = set()
"""Kinds of graphs, by their nodes' names, that `vmap` could not take."""


Beside: TypeAlias = list[tuple[Tensor, Tensor]]
"""Parameters and gradients that a pass within a task's pass gave."""


@dataclass(frozen=True)
class Target:
    """What passes take gradients of.

    Args:
        edge: A parameter, or the output of a lookup.
        tasks: Tasks that reach it.
        certain: Whether the graph tells so; if not, gradients that are all zero are left out.
    """

    edge: Tensor | GradientEdge
    tasks: Mask
    certain: bool


def one_by_one(
    graph: TaskGraph, targets: Sequence[Target], tasks: Sequence[int], *, retain_graph: bool
) -> Iterator[tuple[int, dict[int, Tensor]]]:
    """Runs a pass per task, each over its own head and the shared part; gradients may be all zero.

    Args:
        graph: The losses' graph.
        targets: What to take gradients of; others must be among them that a task's pass shall run for.
        tasks: Those that reach one.
        retain_graph: Whether the graph is needed after this.

    Yields:
        A task, and the gradients that it has, by number of the target.
    """
    for task in tasks:
        root = graph.roots[task]
        assert root is not None
        numbers = [number for number, target in enumerate(targets) if target.tasks >> task & 1]
        inputs: list[Any] = [targets[number].edge for number in numbers]
        gradients = torch.autograd.grad(
            [root.edge], inputs, [root.gradient], retain_graph=retain_graph or task != tasks[-1], allow_unused=True
        )
        yield task, {n: graph.lasting(g) for n, g in zip(numbers, gradients, strict=True) if g is not None}


def evident(
    passes: Iterable[tuple[int, dict[int, Tensor], Beside]], targets: Sequence[Target], device: torch.device
) -> Iterator[tuple[int, dict[int, Tensor], Beside]]:
    """Leaves out gradients that are all zero where the graph does not tell that a task has them.

    A GPU runs the passes of all tasks before the host looks, so that it waits once. A CPU keeps one task's at a time.

    Args:
        passes: Tasks, their gradients by number of the target, and what else came of the pass.
        targets: What the gradients are of.
        device: Where they are.
    """
    if all(target.certain for target in targets):
        yield from passes
        return
    for some in ([one] for one in passes) if device.type == "cpu" else [list(passes)]:
        doubtful = [(found, n) for _, found, _ in some for n in found if not targets[n].certain]
        there = [(g._values() if g.is_sparse else g).any() for found, n in doubtful for g in [found[n]]]
        for (found, number), has in zip(doubtful, torch.stack(there).tolist() if there else (), strict=True):
            if not has:
                del found[number]
        yield from some


def together(
    graph: TaskGraph, targets: Sequence[Target], tasks: Sequence[int]
) -> Iterator[tuple[int, dict[int, Tensor]]] | None:
    """Runs the passes of many tasks at once, and keeps the graph; None where that can't be or does not pay.

    Args:
        graph: The losses' graph.
        targets: What to take gradients of.
        tasks: Those that reach one.

    Returns:
        As of `one_by_one`.
    """
    if len(tasks) < MANY or graph.separate or graph.opaque:
        return None
    kind = frozenset(node.name() for node in graph.masks)
    if kind in _NOT_TOGETHER:
        return None
    try:
        size = sum(map(_numbers, graph.masks))
        step = TOGETHER // max(size, 1)
        chunks = (tasks[start : start + step] for start in range(0, len(tasks), step))
        first = _at_once(graph, targets, next(chunks)) if size <= SMALL else []
    except Exception:  # whatever an operation or a hook says that does not take the leading dimension
        _NOT_TOGETHER.add(kind)
        return None
    return chain(first, chain.from_iterable(_at_once(graph, targets, chunk) for chunk in chunks)) if first else None


def _at_once(graph: TaskGraph, targets: Sequence[Target], tasks: Sequence[int]) -> list[tuple[int, dict[int, Tensor]]]:
    roots = [root for task in tasks if (root := graph.roots[task]) is not None]
    edges: Any = [target.edge for target in targets]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # vmap tells of operations that it has no fast way for
        gradients = torch.autograd.grad(
            [roots[0].edge],
            edges,
            [torch.stack([root.gradient for root in roots])],
            retain_graph=True,
            allow_unused=True,
            is_grads_batched=True,
        )
    found: list[tuple[int, dict[int, Tensor]]] = [(task, {}) for task in tasks]
    numbered = [(number, gradient) for number, gradient in enumerate(gradients) if gradient is not None]
    there = [_not_zero(gradient.reshape(len(roots), -1)) for _, gradient in numbered]
    for (number, gradient), those in zip(numbered, torch.stack(there).tolist() if there else (), strict=True):
        for (_, mine), one, has in zip(found, gradient.unbind(), those, strict=True):
            if has:
                mine[number] = one
    return found


def _not_zero(rows: Tensor) -> Tensor:
    """Which rows are not all zero."""
    if rows.device.type != "cpu":
        return rows.any(1)
    found = torch.linalg.vector_norm(rows, dim=1) != 0
    return found if found.all() else rows.any(1)  # squares of small numbers are zero, too


def _numbers(node: Node) -> int:
    outputs: Any = node
    return sum(torch.Size(output.shape).numel() for output in outputs._input_metadata)
