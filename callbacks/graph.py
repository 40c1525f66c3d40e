"""Which parameters a task's loss reaches: the autograd graph of a vector of losses, read once per step."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

Mask: TypeAlias = int
"""Bit t says that task t's loss reaches it."""

_LEAF = "torch::autograd::AccumulateGrad"
_LOOKUPS = ("EmbeddingBackward0", "EmbeddingBagBackward0")
# One number in, one number out: what scaling, casting and averaging over micro-batches put above the losses.
_ELEMENTWISE = frozenset(
    f"{name}Backward0"
    for name in (
        *("Abs", "Add", "Alias", "Clamp", "ClampMax", "ClampMin", "Clone", "Div", "Exp", "Log", "Log1P", "Mul", "Neg"),
        *("Pow", "Reshape", "Rsub", "Sqrt", "Sub", "ToCopy", "UnsafeView", "View"),
    )
)


@dataclass(frozen=True)
class Root:
    """Where the backward pass of one task starts.

    Args:
        edge: The task's own loss, or the whole vector.
        gradient: Gradient of the vector's entry by what the edge holds.
    """

    edge: GradientEdge
    gradient: Tensor


@dataclass
class Leaf:
    """A parameter in the graph.

    Args:
        parameter: The tensor that collects ``.grad``.
        tasks: Tasks that reach it.
        lookups: Nodes that look rows of it up; empty where any other operation reads it, too.
        dense: Whether an operation other than a lookup reads it.
    """

    parameter: Tensor
    tasks: Mask = 0
    lookups: list[tuple[Node, Mask]] = field(default_factory=list)
    dense: bool = False


@dataclass(frozen=True)
class TaskGraph:
    """What `read` finds.

    Args:
        roots: By task; None where a loss depends on no parameter.
        leaves: Parameters in the order in which they are found.
        separate: Whether each task has a root of its own. If not, every pass walks the whole graph, and a parameter
            counts as reached by all tasks.
        masks: Tasks that reach each node.
    """

    roots: list[Root | None]
    leaves: list[Leaf]
    separate: bool
    masks: dict[Node, Mask]


def read(losses: Tensor) -> TaskGraph:
    """Takes a vector of losses [T] apart into the tasks' graphs; runs no backward pass."""
    roots, separate = _roots(losses)
    masks, leaves = reach([(root.edge.node, 1 << t) for t, root in enumerate(roots) if root is not None])
    return TaskGraph(roots, leaves, separate, masks)


def reach(roots: Sequence[tuple[Node, Mask]]) -> tuple[dict[Node, Mask], list[Leaf]]:
    """Carries the roots' masks down the graph, each node once.

    Returns:
        The mask of every node, those nearer to the roots first, and the parameters.
    """
    order, edges = _order([node for node, _ in roots])
    masks: dict[Node, Mask] = dict.fromkeys(order, 0)
    for node, mask in roots:
        masks[node] |= mask
    leaves: dict[Node, Leaf] = {}
    for node in order:
        mask = masks[node]
        if node.name() == _LEAF:
            leaf = leaves.setdefault(node, Leaf(_variable(node)))
            leaf.tasks |= mask
            leaf.dense |= any(node is root for root, _ in roots)
            continue
        below = edges[node]
        for child in below:
            masks[child] |= mask
        table = node.next_functions[0][0] if node.name() in _LOOKUPS else None
        if table is not None and table.name() == _LEAF:
            leaves.setdefault(table, Leaf(_variable(table))).lookups.append((node, mask))
            below = [child for child, _ in node.next_functions[1:] if child is not None]
        for child in below:
            if child.name() == _LEAF:
                leaves.setdefault(child, Leaf(_variable(child))).dense = True
    return masks, list(leaves.values())


def _order(roots: Sequence[Node]) -> tuple[list[Node], dict[Node, list[Node]]]:
    """All nodes below the roots, each before those that it leads to, and the nodes that each leads to."""
    edges: dict[Node, list[Node]] = {}
    done: list[Node] = []
    stack: list[tuple[Node, bool]] = [(root, False) for root in roots]
    while stack:
        node, left = stack.pop()
        if left:
            done.append(node)
        elif node not in edges:
            edges[node] = [child for child, _ in node.next_functions if child is not None]
            stack.append((node, True))
            stack.extend((child, False) for child in edges[node] if child not in edges)
    return done[::-1], edges


def _roots(losses: Tensor) -> tuple[list[Root | None], bool]:
    """One root per task: the inputs of the `stack` that made the vector, if it was made so."""
    tasks = len(losses)
    if losses.grad_fn is None:
        return [None] * tasks, True
    node: Any = losses.grad_fn
    ones = torch.ones_like(losses)
    while node.name() in _ELEMENTWISE:
        vectors = [child for child, _ in node.next_functions if child is not None]
        if len(vectors) != 1 or vectors[0].name() == _LEAF or _shape(vectors[0]) not in ((tasks,), (1, tasks)):
            break
        node = vectors[0]
    inputs = [GradientEdge(child, nr) if child is not None else None for child, nr in node.next_functions]
    if node.name() in ("StackBackward0", "CatBackward0") and len(inputs) == tasks:
        edges = [edge for edge in inputs if edge is not None]
        if all(_size(edge) == 1 for edge in edges) and len({(e.node, e.output_nr) for e in edges}) == len(edges):
            found = iter(torch.autograd.grad(losses, edges, ones, retain_graph=True) if edges else ())
            return [Root(edge, next(found)) if edge is not None else None for edge in inputs], True
    edge = GradientEdge(losses.grad_fn, losses.output_nr)
    return [Root(edge, row) for row in torch.eye(tasks, dtype=losses.dtype, device=losses.device)], False


def _shape(node: Any) -> tuple[int, ...]:
    return tuple(node._input_metadata[0].shape)


def _size(edge: GradientEdge) -> int:
    metadata: Any = edge.node
    return int(torch.Size(metadata._input_metadata[edge.output_nr].shape).numel())


def _variable(leaf: Any) -> Tensor:
    variable: Tensor = leaf.variable
    return variable
