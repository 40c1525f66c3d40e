"""One backward pass of weighted losses that leaves the tasks' own parameters unweighted."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mtlzoo.callbacks.surgery.graph import TaskGraph, alone


def weighted_backward(graph: TaskGraph, weights: Tensor, *, retain_graph: bool = False) -> None:
    """Adds ``sum_t weights[t] * g_t`` to ``.grad`` of shared parameters and plain g_t to those of one task.

    A task's gradient is multiplied by its weight where it crosses from a node that the task alone reaches to one that
    several do; so this is an ordinary pass, dense and sparse gradients as torch makes them.

    Args:
        graph: With a root per task.
        weights: [T].
        retain_graph: Whether the graph is needed after this.
    """
    factors = list(weights.unbind())
    handles = []
    roots, gradients = [], []
    for task, root in enumerate(graph.roots):
        if root is not None:
            one = alone(graph.masks[root.edge.node])
            roots.append(root.edge)
            gradients.append(root.gradient if one else root.gradient * factors[task].to(root.gradient.dtype))
    for node, mask in graph.masks.items():
        if alone(mask):
            crossing = [child is not None and not alone(graph.masks[child]) for child, _ in node.next_functions]
            if any(crossing):
                handles.append(node.register_hook(_scaling(crossing, factors[mask.bit_length() - 1])))
    try:
        if roots:
            torch.autograd.backward(roots, gradients, retain_graph=retain_graph)
    finally:
        for handle in handles:
            handle.remove()


def _scaling(crossing: list[bool], weight: Tensor) -> Callable[..., Any]:
    def scale(inputs: tuple[Tensor | None, ...], outputs: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        return tuple(
            gradient * weight.to(gradient.dtype) if crosses and gradient is not None else gradient
            for gradient, crosses in zip(inputs, crossing, strict=True)
        )

    return scale
