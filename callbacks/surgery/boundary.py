"""Where the tasks' own parts of the graph meet the part that they share: there their gradients become one.

With weights that are known one ordinary pass does it all (`weighted_backward`). Where the weights depend on what the
heads pass down, those run backward first and the shared part once they are known (`descend`, `Boundary.backward`). Both
give the same, but the second goes through the graph more than once: with 8 tasks it takes 1.8 times as long.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node
from torch.utils.hooks import RemovableHandle

from mtlzoo.callbacks.surgery.graph import TaskGraph, alone
from mtlzoo.callbacks.surgery.written import put

Place: TypeAlias = tuple[Node, int]
"""A node and the number of its output."""


@dataclass
class Boundary:
    """What `descend` finds.

    Args:
        own: Parameters that one task alone reaches, with their gradients.
        meeting: Gradients where edges lead from a task's own part into the shared one, by task.
        tapped: For each of the taps, its gradients by task.
    """

    own: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    meeting: dict[Place, dict[int, Tensor]] = field(default_factory=dict)
    tapped: list[dict[int, Tensor]] = field(default_factory=list)

    def backward(self, weights: Tensor, *, retain_graph: bool = False) -> None:
        """Adds ``sum_t weights[t] * g_t`` to ``.grad`` of shared parameters and plain g_t to those of one task.

        The shared part is an ordinary pass: dense and sparse gradients as torch makes them.

        Args:
            weights: [T].
            retain_graph: Whether the graph is needed after this.
        """
        for parameter, gradient in self.own:
            # What autograd gives may share its memory with another's gradient.
            put(parameter, gradient.clone() if parameter.grad is None else parameter.grad + gradient)
        factors = weights.unbind()
        totals = []
        for by_task in self.meeting.values():
            # Dense ones first: a sparse gradient can be added to a dense one, and not the other way round.
            (first, gradient), *others = sorted(by_task.items(), key=lambda one: one[1].is_sparse)
            total = gradient * factors[first].to(gradient.dtype)
            for task, gradient in others:
                factor = factors[task].to(gradient.dtype)
                total = total + gradient * factor if gradient.is_sparse else total.addcmul_(gradient, factor)
            totals.append(total)
        if totals:
            edges = [GradientEdge(*place) for place in self.meeting]
            torch.autograd.backward(edges, totals, retain_graph=retain_graph)


def weighted_backward(graph: TaskGraph, weights: Tensor, *, retain_graph: bool = False) -> None:
    """Adds ``sum_t weights[t] * g_t`` to ``.grad`` of shared parameters and plain g_t to those of one task.

    A task's gradient is multiplied by its weight where it crosses from a node that the task alone reaches to one that
    several do; so this is an ordinary pass, dense and sparse gradients as torch makes them.

    Args:
        graph: With a root per task.
        weights: [T].
        retain_graph: Whether the graph is needed after this.
    """
    factors = weights.unbind()
    roots, gradients = [], []
    for root, factor in zip(graph.roots, factors, strict=True):
        if root is not None:
            own = alone(graph.masks[root.edge.node])
            roots.append(root.edge)
            gradients.append(root.gradient if own else root.gradient * factor.to(root.gradient.dtype))
    crossings = _crossings(graph).items()
    handles = [node.register_hook(_scaling(edges, factors[_task(graph, node)])) for node, edges in crossings]
    with _until_done(handles):
        if roots:
            torch.autograd.backward(roots, gradients, retain_graph=retain_graph)


def descend(graph: TaskGraph, parameters: Iterable[Tensor], taps: Sequence[GradientEdge]) -> Boundary:
    """Runs every task's own part of the graph backward, down to the taps and to where other tasks come in.

    A parameter of the shared part may be read above a tap as well as below (a gate reads the features that the experts
    read). So that no pass goes on below the taps, they let nothing through meanwhile.

    Args:
        graph: With a root per task; it is kept.
        parameters: What to take gradients of.
        taps: Outputs of modules; what lies below them is left to `Boundary.backward`.
    """
    boundary, wanted = Boundary(tapped=[{} for _ in taps]), set(parameters)
    places: dict[int, dict[Place, None]] = {}  # by task, in order, each once
    crossings = _crossings(graph)
    for node, edges in crossings.items():
        places.setdefault(_task(graph, node), {}).update(dict.fromkeys(place for _, place in edges))
    # Taken as it leaves the task's own part and not where it arrives: hooks on the tensor there would have changed it,
    # and they will when the pass goes on.
    handles = [node.register_hook(_recording(boundary, graph, node, edges)) for node, edges in crossings.items()]
    with _until_done(handles + _closed(tap for tap in taps if not alone(graph.masks.get(tap.node, 0)))):
        for task, root in enumerate(graph.roots):
            if root is None:
                continue
            mask = 1 << task
            if not alone(graph.masks[root.edge.node]):
                _meet(boundary, task, (root.edge.node, root.edge.output_nr), root.gradient)
            own = [leaf.parameter for leaf in graph.leaves if leaf.tasks == mask and leaf.parameter in wanted]
            reached = [number for number, tap in enumerate(taps) if graph.masks.get(tap.node, 0) & mask]
            inputs: list[Any] = [*own, *(taps[number] for number in reached)]
            inputs += [GradientEdge(*place) for place in places.get(task, ())]
            if not inputs:
                continue
            found = torch.autograd.grad([root.edge], inputs, [root.gradient], retain_graph=True, allow_unused=True)
            found = tuple(None if gradient is None else graph.lasting(gradient) for gradient in found)
            boundary.own += [(p, gradient) for p, gradient in zip(own, found, strict=False) if gradient is not None]
            for number, gradient in zip(reached, found[len(own) :], strict=False):
                if gradient is not None:
                    boundary.tapped[number][task] = gradient
    return boundary


def _crossings(graph: TaskGraph) -> dict[Node, list[tuple[int, Place]]]:
    """Nodes that one task alone reaches, with those of their edges that lead to what others reach, too."""
    found: dict[Node, list[tuple[int, Place]]] = {}
    for node, mask in graph.masks.items():
        if alone(mask):
            edges = [
                (i, (child, nr))
                for i, (child, nr) in enumerate(node.next_functions)
                if child is not None and not alone(graph.masks[child])
            ]
            if edges:
                found[node] = edges
    return found


def _task(graph: TaskGraph, node: Node) -> int:
    """The one that reaches a node alone."""
    return graph.masks[node].bit_length() - 1


def _scaling(edges: Sequence[tuple[int, Place]], weight: Tensor) -> Callable[..., Any]:
    crossing = {i for i, _ in edges}

    def scale(inputs: tuple[Tensor | None, ...], outputs: Any) -> tuple[Tensor | None, ...]:
        return tuple(
            gradient * weight.to(gradient.dtype) if i in crossing and gradient is not None else gradient
            for i, gradient in enumerate(inputs)
        )

    return scale


def _recording(
    boundary: Boundary, graph: TaskGraph, node: Node, edges: Sequence[tuple[int, Place]]
) -> Callable[..., None]:
    task = _task(graph, node)

    def record(inputs: tuple[Tensor | None, ...], outputs: Any) -> None:
        for i, place in edges:
            gradient = inputs[i]
            if gradient is not None:
                _meet(boundary, task, place, graph.lasting(gradient))

    return record


def _meet(boundary: Boundary, task: int, place: Place, gradient: Tensor) -> None:
    by_task = boundary.meeting.setdefault(place, {})
    by_task[task] = by_task[task] + gradient if task in by_task else gradient


def _closed(taps: Iterable[GradientEdge]) -> list[RemovableHandle]:
    """Lets no gradient through the taps; what lies below computes nothing of none."""
    closed: dict[Node, set[int]] = {}
    for tap in taps:
        closed.setdefault(tap.node, set()).add(tap.output_nr)

    def closing(numbers: set[int]) -> Callable[..., Any]:
        return lambda gradients: tuple(None if i in numbers else gradient for i, gradient in enumerate(gradients))

    return [node.register_prehook(closing(numbers)) for node, numbers in closed.items()]


@contextmanager
def _until_done(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """Takes the hooks out at the end."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
