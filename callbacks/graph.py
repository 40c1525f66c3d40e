"""Which parameters a task's loss reaches: the autograd graph of a vector of losses, read once per step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

Mask: TypeAlias = int
"""Bit t says that task t's loss reaches it."""

_LEAF = "torch::autograd::AccumulateGrad"
_REENTRANT = "CheckpointFunction"  # torch's, and what fairscale, DeepSpeed and Megatron call theirs
_LOOKUPS = ("EmbeddingBackward0", "EmbeddingBagBackward0")
# One number in, one number out: what scaling, casting and averaging over micro-batches put above the losses.
_ELEMENTWISE = frozenset(
    f"{name}Backward0"
    for name in (
        *("Abs", "Add", "Alias", "Clamp", "ClampMax", "ClampMin", "Clone", "Div", "Exp", "Log", "Log1P", "Mul", "Neg"),
        *("Pow", "Reshape", "Rsub", "Sqrt", "Squeeze", "Sub", "ToCopy", "UnsafeView", "Unsqueeze", "View"),
    )
)


def alone(mask: Mask) -> bool:
    """Whether one task at most reaches what has this mask."""
    return mask & (mask - 1) == 0


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
        masks: Tasks that reach each node, those nearer to the roots first.
        edges: The nodes that each leads to.
    """

    roots: list[Root | None]
    leaves: list[Leaf]
    separate: bool
    masks: dict[Node, Mask]
    edges: dict[Node, list[Node]]


def read(losses: Tensor) -> TaskGraph:
    """Takes a vector of losses [T] apart into the tasks' graphs; runs no backward pass.

    Raises:
        ValueError: Reentrant checkpointing, which hides its parameters.
    """
    roots, separate = _roots(losses)
    starts = [(root.edge.node, 1 << t) for t, root in enumerate(roots) if root is not None]
    order, edges = _order([node for node, _ in starts])
    masks, leaves = _reach(starts, order, edges)
    return TaskGraph(roots, leaves, separate, masks, edges)


def _reach(
    roots: Sequence[tuple[Node, Mask]], order: Sequence[Node], edges: Mapping[Node, Sequence[Node]]
) -> tuple[dict[Node, Mask], list[Leaf]]:
    """Carries the roots' masks down the graph, each node once."""
    masks: dict[Node, Mask] = dict.fromkeys(order, 0)
    for node, mask in roots:
        masks[node] |= mask
    leaves: dict[Node, Leaf] = {}
    for node in order:
        mask, name = masks[node], node.name()
        if name == _LEAF:
            leaf = leaves.setdefault(node, Leaf(_variable(node)))
            leaf.tasks |= mask
            leaf.dense |= any(node is root for root, _ in roots)
            continue
        if _REENTRANT in name:
            raise ValueError(_hidden(name))
        below = edges[node]
        for child in below:
            masks[child] |= mask
        table = node.next_functions[0][0] if name in _LOOKUPS else None
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
    """One root per task, if the vector was made of one tensor per task; else the vector, once per task."""
    tasks = len(losses)
    if losses.grad_fn is None:
        return [None] * tasks, True
    edges = _inputs(losses.grad_fn, tasks)
    if edges is None:
        edge = GradientEdge(losses.grad_fn, losses.output_nr)
        return [Root(edge, row) for row in torch.eye(tasks, dtype=losses.dtype, device=losses.device)], False
    whole, inputs = edges
    gradient = torch.ones_like(losses)
    if whole.node is not losses.grad_fn:
        (gradient,) = torch.autograd.grad(losses, [whole], gradient, retain_graph=True)
    return [
        None if edge is None else _single(edge, one.reshape(_shape(edge)))
        for edge, one in zip(inputs, gradient.reshape(-1), strict=True)
    ], True


def _single(edge: GradientEdge, gradient: Tensor) -> Root:
    """The root itself or, if it was taken out of another vector of losses, where it came from."""
    below = _origin(edge)
    if below is None:
        return Root(edge, gradient)
    (gradient,) = torch.autograd.grad([edge], [below], [gradient], retain_graph=True)
    return _single(below, gradient)


def _origin(edge: GradientEdge) -> GradientEdge | None:
    """The tensor that a number was stacked from, if it is an entry of a vector made by `stack` or `cat`."""
    node: Any = edge.node
    while node.name() in _ELEMENTWISE:
        (child, nr), *others = [one for one in node.next_functions if one[0] is not None] or [(None, 0)]
        if child is None or others or child.name() == _LEAF or _size(GradientEdge(child, nr)) != 1:
            return None
        node, edge = child, GradientEdge(child, nr)
    if node.name() not in ("UnbindBackward0", "SelectBackward0") or node.next_functions[0][0] is None:
        return None
    vector, nr = node.next_functions[0]
    size = _size(GradientEdge(vector, nr))
    found = _inputs(vector, size)
    if found is None:
        return None
    place = edge.output_nr if node.name() == "UnbindBackward0" else node._saved_index
    return found[1][place - 2**64 if place >= 2**63 else place]


def _inputs(node: Any, size: int) -> tuple[GradientEdge, list[GradientEdge | None]] | None:
    """The `stack` or `cat` of single numbers that a vector was made by, with nothing but scaling above, if it was."""
    while node.name() in _ELEMENTWISE:
        below = [child for child, _ in node.next_functions if child is not None]
        if len(below) != 1 or below[0].name() == _LEAF or _size(GradientEdge(below[0], 0)) != size:
            return None
        node = below[0]
    inputs = [GradientEdge(child, nr) if child is not None else None for child, nr in node.next_functions]
    if node.name() not in ("StackBackward0", "CatBackward0") or len(inputs) != size:
        return None
    edges = [(edge.node, edge.output_nr) for edge in inputs if edge is not None]
    if len(set(edges)) < len(edges) or any(_size(edge) != 1 for edge in inputs if edge is not None):
        return None
    return GradientEdge(node, 0), inputs


def _size(edge: GradientEdge) -> int:
    return torch.Size(_shape(edge)).numel()


def _shape(edge: GradientEdge) -> tuple[int, ...]:
    node: Any = edge.node
    return tuple(int(length) for length in node._input_metadata[edge.output_nr].shape)


def _hidden(name: str) -> str:
    return (
        f"Gradients of single tasks don't reach what reentrant checkpointing computes again: found {name} in the graph "
        "of the losses, which hides its parameters. Give use_reentrant=False: checkpoint(function, *inputs, "
        "use_reentrant=False); in transformers: gradient_checkpointing_enable(gradient_checkpointing_kwargs="
        '{"use_reentrant": False}).'
    )


def _variable(leaf: Any) -> Tensor:
    variable: Tensor = leaf.variable
    return variable
