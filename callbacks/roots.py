"""Where each task's backward pass starts: the entries of a vector of losses, taken apart where that can be done."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

LEAF = "torch::autograd::AccumulateGrad"
"""The node that collects a parameter's ``.grad``."""
_SINK = "_DDPSinkBackward"  # DDP that looks for unused parameters passes what training_step returns through it
# One number in, one number out: what scaling, casting and averaging over micro-batches put above the losses.
ELEMENTWISE = frozenset(
    f"{name}Backward0"
    for name in (
        *("Abs", "Add", "Alias", "Clamp", "ClampMax", "ClampMin", "Clone", "Div", "Exp", "Log", "Log1P", "Mul", "Neg"),
        *("Pow", "Reshape", "Rsub", "Sqrt", "Squeeze", "Sub", "ToCopy", "UnsafeView", "Unsqueeze", "View"),
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


def roots_of(losses: Tensor) -> tuple[list[Root | None], bool]:
    """One root per task, if the vector was made of one tensor per task; else the vector, once per task."""
    tasks = len(losses)
    if losses.grad_fn is None:
        return [None] * tasks, True
    edge = GradientEdge(losses.grad_fn, losses.output_nr)
    edges = _inputs(edge, tasks)
    if edges is None:
        return [Root(edge, row) for row in torch.eye(tasks, dtype=losses.dtype, device=losses.device)], False
    whole, inputs = edges
    gradient = torch.ones_like(losses)
    if whole.node is not losses.grad_fn:
        (gradient,) = torch.autograd.grad(losses, [whole], gradient, retain_graph=True)
    return [
        None if edge is None else _single(edge, one.reshape(shape(edge)))
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
    edge, node = _source(edge)
    if node.name() not in ("UnbindBackward0", "SelectBackward0") or node.next_functions[0][0] is None:
        return None
    vector, nr = node.next_functions[0]
    size = _size(GradientEdge(vector, nr))
    found = _inputs(GradientEdge(vector, nr), size)
    if found is None:
        return None
    place = edge.output_nr if node.name() == "UnbindBackward0" else node._saved_index
    return found[1][place - 2**64 if place >= 2**63 else place]


def _source(edge: GradientEdge) -> tuple[GradientEdge, Any]:
    """The tensor that one was made of number by number, with nothing but scaling and the like between."""
    while (below := _below(edge)) is not None:
        edge = below
    return edge, edge.node


def _below(edge: GradientEdge) -> GradientEdge | None:
    node: Any = edge.node
    found: list[Any] = []
    if node.name() in ELEMENTWISE:
        found = [one for one in node.next_functions if one[0] is not None]
    elif node.name() == _SINK and len(node.next_functions) == len(node._input_metadata):
        found = [node.next_functions[edge.output_nr]]
    if len(found) != 1 or found[0][0] is None or found[0][0].name() == LEAF:
        return None
    below = GradientEdge(*found[0])
    return below if _size(below) == _size(edge) else None


def _inputs(edge: GradientEdge, size: int) -> tuple[GradientEdge, list[GradientEdge | None]] | None:
    """The `stack` or `cat` of single numbers that a vector was made by, with nothing but scaling above, if it was."""
    edge, node = _source(edge)
    inputs = [GradientEdge(child, nr) if child is not None else None for child, nr in node.next_functions]
    if node.name() not in ("StackBackward0", "CatBackward0") or len(inputs) != size:
        return None
    edges = [(edge.node, edge.output_nr) for edge in inputs if edge is not None]
    if len(set(edges)) < len(edges) or any(_size(edge) != 1 for edge in inputs if edge is not None):
        return None
    return edge, inputs


def _size(edge: GradientEdge) -> int:
    return torch.Size(shape(edge)).numel()


def shape(edge: GradientEdge) -> tuple[int, ...]:
    """Of the tensor that an edge leads to."""
    node: Any = edge.node
    return tuple(int(length) for length in node._input_metadata[edge.output_nr].shape)
