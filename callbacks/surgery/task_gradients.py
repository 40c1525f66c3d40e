"""The gradients of every task, from one pass of autograd per task."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from itertools import islice
from operator import or_
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from mtlzoo.callbacks.surgery.graph import Leaf, Mask, TaskGraph, alone
from mtlzoo.callbacks.surgery.lookups import Lookup, RowSums, settle
from mtlzoo.callbacks.surgery.passes import Beside, Target, evident, one_by_one, together
from mtlzoo.callbacks.surgery.reals import real, zeros
from mtlzoo.callbacks.surgery.rows import Rows, merge, touched_rows


@dataclass
class ParameterGradients:
    """Gradients of one parameter by task; tasks that don't reach it are left out.

    Args:
        tasks: Tasks that reach the parameter.
        dense: By task, the gradient, shaped as the parameter; of a complex one its parts, [..., 2].
        rows: Gradients by touched row, where lookups alone read the parameter.
        sparse: Whether its lookups ask for sparse gradients.
        certain: Whether the graph tells which tasks reach it. If not, those are in `tasks` that have shown it in this
            step by a gradient that is not all zero.
    """

    tasks: Mask = 0
    dense: dict[int, Tensor] = field(default_factory=dict)
    rows: list[Rows] = field(default_factory=list)
    sparse: bool = False
    certain: bool = True

    @property
    def shared(self) -> bool:
        """Whether two tasks or more reach it."""
        return not alone(self.tasks)

    def add(self, task: int, gradient: Tensor) -> None:
        """Adds to a task's dense gradient."""
        self.dense[task] = self.dense[task] + gradient if task in self.dense else gradient

    def settle(self, parameter: Tensor) -> None:
        """Makes all of it dense where some is."""
        if self.dense:
            for part in self.rows:
                for task, values in part.values.items():
                    self.add(task, zeros(parameter).index_copy_(0, part.index, values))
            self.rows = []


class TaskGradients:
    """Gradients of all parameters by task, summed over micro-batches."""

    def __init__(self) -> None:
        self.of: dict[Tensor, ParameterGradients] = {}

    def __iter__(self) -> Iterator[tuple[Tensor, ParameterGradients]]:
        return iter(self.of.items())

    def settle(self) -> None:
        """Brings what micro-batches have added into one form for each parameter: one set of rows, or dense."""
        for parameter, entry in self:
            entry.settle(parameter)
        tables = [entry for entry in self.of.values() if entry.rows]
        for entry, rows in zip(tables, merge([entry.rows for entry in tables]), strict=True):
            entry.rows = [rows]

    def finite(self) -> bool:
        """Whether all of them are, of heads and of shared parameters; waits for the device."""
        parts = [part for one in self.of.values() for part in (one.dense, *(rows.values for rows in one.rows))]
        found = [gradient for part in parts for gradient in part.values()]
        return not found or bool(torch.stack([gradient.isfinite().all() for gradient in found]).all())

    def collect(self, graph: TaskGraph, parameters: Iterable[Tensor], *, retain_graph: bool = False) -> None:
        """Runs one backward pass per task and adds what it finds.

        A pass walks the task's own head and the shared part, once; it stops at the output of lookups, so that no
        gradient of a whole table comes to be.

        Args:
            graph: The losses' graph.
            parameters: What to take gradients of; other leaves of the graph (inputs, say) get none.
            retain_graph: Whether the graph is needed after this.
        """
        wanted = set(parameters)
        leaves = [leaf for leaf in graph.leaves if leaf.parameter in wanted]
        for leaf in leaves:
            self._at(leaf.parameter, leaf.tasks if leaf.certain else 0, leaf.certain)
        groups = _group([leaf for leaf in leaves if leaf.lookups and not leaf.dense])
        others = [leaf for leaf in leaves if leaf.dense or not leaf.lookups]
        # Nodes that autograd can't see into run for the sake of inputs as well: parameters may be hidden in them.
        driving = [leaf for leaf in graph.leaves if leaf.parameter not in wanted] if graph.opaque else []
        targets = [target for group in groups for target in group.targets]
        targets += [Target(leaf.parameter, leaf.tasks, leaf.certain) for leaf in [*others, *driving]]
        reached = reduce(or_, (target.tasks for target in targets), 0)
        tasks = [task for task, root in enumerate(graph.roots) if root is not None and reached >> task & 1]
        doubtful: Sequence[Target] = ()
        passes = together(graph, targets, tasks)
        if passes is None:
            passes, doubtful = one_by_one(graph, targets, tasks, retain_graph=retain_graph), targets
        with _passes_within(wanted if graph.opaque else ()) as within:
            every = ((task, found, within()) for task, found in passes)
            for task, found, inside in evident(every, doubtful, graph.device):
                self._take(task, found, groups, others)
                for parameter, gradient in inside:
                    self._at(parameter, 0, certain=False)
                    self._add(Leaf(parameter), task, graph.lasting(gradient))
        for group in groups:
            for leaf, rows, sparse in zip(group.leaves, group.rows, group.sparse, strict=True):
                entry = self._at(leaf.parameter, sum(1 << task for task in rows.values))
                entry.sparse = sparse
                if rows.values:
                    entry.rows.append(rows)

    def _take(
        self, task: int, found: Mapping[int, Tensor], groups: Sequence["_Tables"], others: Sequence[Leaf]
    ) -> None:
        """Adds what a task's pass found, numbered through the groups' lookups and then the other leaves."""
        start = 0
        for group in groups:
            end = start + len(group.targets)
            group.add(task, [found.get(number) for number in range(start, end)])
            start = end
        for number, leaf in enumerate(others, start):
            if number in found:
                self._add(leaf, task, found[number])

    def _add(self, leaf: Leaf, task: int, gradient: Tensor) -> None:
        entry = self._at(leaf.parameter, 1 << task)
        gradient = real(gradient.to_dense() if gradient.is_sparse else gradient)
        index = touched_rows(gradient) if leaf.inside else None
        if index is None:
            entry.add(task, gradient)
        else:
            entry.rows.append(Rows(index, {task: gradient[index]}))

    def _at(self, parameter: Tensor, tasks: Mask, certain: bool = True) -> ParameterGradients:
        entry = self.of.setdefault(parameter, ParameterGradients())
        entry.tasks |= tasks
        entry.certain &= certain
        return entry


@contextmanager
def _passes_within(parameters: Iterable[Tensor]) -> Iterator[Callable[[], Beside]]:
    """What a function's own pass, within that of a task, puts into ``.grad``: it is a gradient of the task."""
    before = {parameter: parameter.grad for parameter in parameters}

    def taken() -> Beside:
        found = [(parameter, parameter.grad) for parameter in before if parameter.grad is not None]
        for parameter, _ in found:
            parameter.grad = None
        return found

    taken()
    try:
        yield taken
    finally:
        for parameter, gradient in before.items():
            parameter.grad = gradient


class _Tables:
    """Tables of one width that the same tasks reach by lookups alone, and what is found of them.

    Args:
        leaves: The tables.
    """

    def __init__(self, leaves: Sequence[Leaf]) -> None:
        self.leaves = leaves
        lookups = [[Lookup(node, len(leaf.parameter)) for node, _ in leaf.lookups] for leaf in leaves]
        self.targets = [
            Target(GradientEdge(node, 0), tasks, leaf.certain) for leaf in leaves for node, tasks in leaf.lookups
        ]
        self.sparse = [all(lookup.sparse for lookup in own) for own in lookups]
        table = leaves[0].parameter
        self.sums = RowSums(lookups, table.shape[1], table.dtype)
        self.rows: list[Rows] = []

    def add(self, task: int, gradients: Sequence[Tensor | None]) -> None:
        """Takes a task's gradients of the lookups' outputs; None where it does not reach one."""
        if all(gradient is None for gradient in gradients):
            return
        rest = iter(gradients)
        for leaf, rows, values in zip(self.leaves, self.rows, self.sums(gradients), strict=True):
            if any(gradient is not None for gradient in list(islice(rest, len(leaf.lookups)))):
                rows.values[task] = values


def _group(leaves: Iterable[Leaf]) -> list[_Tables]:
    found: dict[Any, list[Leaf]] = {}
    for leaf in leaves:
        found.setdefault((leaf.tasks, leaf.certain, leaf.parameter.shape[1], leaf.parameter.dtype), []).append(leaf)
    groups = [_Tables(group) for group in found.values()]
    settle([group.sums for group in groups])
    for group in groups:
        group.rows = [Rows(index, {}) for index in group.sums.index]
    return groups
