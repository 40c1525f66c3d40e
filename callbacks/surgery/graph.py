"""Which parameters a task's loss reaches: the autograd graph of a vector of losses, read once per step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

from mtlzoo.callbacks.roots import LEAF, Root, roots_of
from mtlzoo.callbacks.surgery.certainty import certain_masks, hiding, opaque

Mask: TypeAlias = int
"""Bit t says that task t's loss reaches it."""

_REENTRANT = "CheckpointFunction"  # torch's, and what fairscale, DeepSpeed and Megatron call theirs
_LOOKUPS = ("EmbeddingBackward0", "EmbeddingBagBackward0")


def alone(mask: Mask) -> bool:
    """Whether one task at most reaches what has this mask."""
    return mask & (mask - 1) == 0


@dataclass
class Leaf:
    """A parameter in the graph.

    Args:
        parameter: The tensor that collects ``.grad``.
        tasks: Tasks that reach it.
        lookups: Nodes that look rows of it up; empty where any other operation reads it, too.
        dense: Whether an operation other than a lookup reads it.
        certain: Whether the graph tells which tasks reach it. If not, `tasks` is an upper bound, and a gradient that is
            not all zero is the evidence.
        inside: Whether an opaque node reads it, which may look rows of it up.
    """

    parameter: Tensor
    tasks: Mask = 0
    lookups: list[tuple[Node, Mask]] = field(default_factory=list)
    dense: bool = False
    certain: bool = True
    inside: bool = False


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
        opaque: Whether nodes are among them that autograd can't see into.
    """

    roots: list[Root | None]
    leaves: list[Leaf]
    separate: bool
    masks: dict[Node, Mask]
    edges: dict[Node, list[Node]]
    opaque: bool

    @property
    def device(self) -> torch.device:
        """Where the losses are."""
        return next((root.gradient.device for root in self.roots if root is not None), torch.device("cpu"))

    @property
    def certain(self) -> bool:
        """Whether it tells for every parameter which tasks reach it."""
        return all(leaf.certain for leaf in self.leaves)

    def lasting(self, gradient: Tensor) -> Tensor:
        """A gradient that stays as it is when the next pass runs.

        Blocks in CUDA graphs (`torch.cuda.make_graphed_callables`, ``mode="reduce-overhead"``), and functions of one's
        own, may write what the next pass gives over it.
        """
        return gradient.clone() if self.opaque else gradient


def read(losses: Tensor) -> TaskGraph:
    """Takes a vector of losses [T] apart into the tasks' graphs; runs no backward pass.

    Raises:
        ValueError: Reentrant checkpointing, which hides its parameters.
    """
    roots, separate = roots_of(losses)
    starts = [(root.edge, 1 << t) for t, root in enumerate(roots) if root is not None]
    order, edges = _order([edge.node for edge, _ in starts])
    masks, leaves, names = _reach(starts, order, edges)
    blind, apart = hiding(names, masks)
    certain = certain_masks(starts, order, masks) if separate and (blind or apart) else masks
    for node, leaf in leaves.items():
        leaf.certain = separate and certain[node] == masks[node]
    return TaskGraph(roots, list(leaves.values()), separate, masks, edges, blind)


def _reach(
    roots: Sequence[tuple[GradientEdge, Mask]], order: Sequence[Node], edges: Mapping[Node, Sequence[Node]]
) -> tuple[dict[Node, Mask], dict[Node, Leaf], list[tuple[Node, str]]]:
    """Carries the roots' masks down the graph, each node once; also the names of nodes that are no parameters."""
    names: list[tuple[Node, str]] = []
    masks: dict[Node, Mask] = dict.fromkeys(order, 0)
    starts = {edge.node for edge, _ in roots}
    for edge, mask in roots:
        masks[edge.node] |= mask
    leaves: dict[Node, Leaf] = {}
    for node in order:
        mask, name = masks[node], node.name()
        if name == LEAF:
            leaf = leaves.setdefault(node, Leaf(_variable(node)))
            leaf.tasks |= mask
            leaf.dense |= node in starts
            continue
        if _REENTRANT in name:
            raise ValueError(_hidden(name))
        names.append((node, name))
        below = edges[node]
        for child in below:
            masks[child] |= mask
        table = node.next_functions[0][0] if name in _LOOKUPS else None
        if table is not None and table.name() == LEAF:
            leaves.setdefault(table, Leaf(_variable(table))).lookups.append((node, mask))
            below = [child for child, _ in node.next_functions[1:] if child is not None]
        for child in below:
            if child.name() == LEAF:
                leaf = leaves.setdefault(child, Leaf(_variable(child)))
                leaf.dense = True
                leaf.inside |= opaque(node, name)
    return masks, leaves, names


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
