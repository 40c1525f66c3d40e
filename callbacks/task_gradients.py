"""The gradients of every task, from one pass of autograd per task."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from mtlzoo.callbacks.graph import Leaf, Mask, TaskGraph
from mtlzoo.callbacks.rows import Lookup, Rows, by_row, merge


@dataclass
class ParameterGradients:
    """Gradients of one parameter by task; tasks that don't reach it are left out.

    Args:
        tasks: Tasks that reach the parameter.
        dense: By task, the gradient, shaped as the parameter.
        rows: Gradients by touched row, where lookups alone read the parameter.
        sparse: Whether its lookups ask for sparse gradients.
    """

    tasks: Mask = 0
    dense: dict[int, Tensor] = field(default_factory=dict)
    rows: list[Rows] = field(default_factory=list)
    sparse: bool = False

    @property
    def shared(self) -> bool:
        """Whether two tasks or more reach it."""
        return self.tasks & (self.tasks - 1) != 0

    def add(self, task: int, gradient: Tensor) -> None:
        """Adds to a task's dense gradient."""
        self.dense[task] = self.dense[task] + gradient if task in self.dense else gradient

    def settle(self, parameter: Tensor) -> None:
        """Brings what micro-batches have added into one form: one set of rows, or dense."""
        if self.rows and self.dense:
            for part in self.rows:
                for task, values in part.values.items():
                    self.add(task, torch.zeros_like(parameter).index_copy_(0, part.index, values))
            self.rows = []
        if self.rows:
            self.rows = [merge(self.rows)]


class TaskGradients:
    """Gradients of all parameters by task, summed over micro-batches."""

    def __init__(self) -> None:
        self.of: dict[Tensor, ParameterGradients] = {}

    def __iter__(self) -> Iterator[tuple[Tensor, ParameterGradients]]:
        return iter(self.of.items())

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
        tables = {leaf.parameter: _lookups(leaf) for leaf in leaves if leaf.lookups and not leaf.dense}
        passes = [(t, root, _inputs(leaves, t, tables)) for t, root in enumerate(graph.roots) if root is not None]
        passes = [one for one in passes if one[2]]
        found: dict[Tensor, list[dict[int, Tensor]]] = {p: [{} for _ in lookups] for p, lookups in tables.items()}
        for number, (task, root, inputs) in enumerate(passes):
            gradients = torch.autograd.grad(
                [root.edge],
                [edge for edge, _, _ in inputs],  # type: ignore[arg-type]  # torch takes both kinds in one list
                [root.gradient],
                retain_graph=retain_graph or number < len(passes) - 1,
                allow_unused=True,
            )
            for (_, parameter, lookup), gradient in zip(inputs, gradients, strict=True):
                if gradient is None or (not graph.separate and not gradient.any()):
                    continue
                if lookup is not None:
                    found[parameter][lookup][task] = gradient
                else:
                    self._at(parameter, 1 << task).add(task, gradient.to_dense() if gradient.is_sparse else gradient)
        for leaf in leaves:
            if leaf.parameter in tables:
                self._add_rows(leaf, tables[leaf.parameter], found[leaf.parameter])
            if graph.separate:
                self._at(leaf.parameter, leaf.tasks)

    def _add_rows(self, leaf: Leaf, lookups: list[Lookup], found: list[dict[int, Tensor]]) -> None:
        used = [(lookup, by_task) for lookup, by_task in zip(lookups, found, strict=True) if by_task]
        if used:
            mask = 0
            for _, by_task in used:
                mask |= sum(1 << task for task in by_task)
            entry = self._at(leaf.parameter, mask)
            entry.sparse = all(lookup.sparse for lookup in lookups)
            dim = leaf.parameter.shape[1]
            entry.rows.append(by_row([one for one, _ in used], [by_task for _, by_task in used], dim))

    def _at(self, parameter: Tensor, tasks: Mask) -> ParameterGradients:
        entry = self.of.setdefault(parameter, ParameterGradients())
        entry.tasks |= tasks
        return entry


def _lookups(leaf: Leaf) -> list[Lookup]:
    return [Lookup(node, leaf.parameter.shape[0]) for node, _ in leaf.lookups]


def _inputs(
    leaves: Iterable[Leaf], task: int, tables: dict[Tensor, list[Lookup]]
) -> list[tuple[GradientEdge | Tensor, Tensor, int | None]]:
    """What a task's pass is asked for: where, of which parameter, and of which of its lookups."""
    inputs: list[tuple[GradientEdge | Tensor, Tensor, int | None]] = []
    for leaf in leaves:
        if leaf.parameter in tables:
            reached = ((i, node) for i, (node, mask) in enumerate(leaf.lookups) if mask >> task & 1)
            inputs += [(GradientEdge(node, 0), leaf.parameter, i) for i, node in reached]
        elif leaf.tasks >> task & 1:
            inputs.append((leaf.parameter, leaf.parameter, None))
    return inputs
