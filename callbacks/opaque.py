"""Nodes that autograd can't see into: functions defined in Python, and blocks that `torch.compile` made one of.

All that such a node has below it lies below each of its outputs, as far as the graph tells. Where tasks read different
ones of them (heads that were compiled with the trunk), its masks are upper bounds.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import and_

from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import GradientEdge, Node


def opaque(node: Node) -> bool:
    """Whether autograd runs it as one piece that may hold anything."""
    return isinstance(node, BackwardCFunction)


def certain_masks(starts: Iterable[tuple[GradientEdge, int]], order: Sequence[Node]) -> dict[Node, int]:
    """Tasks that reach each node without doubt: past an opaque node, those that read all of its outputs in use.

    Args:
        starts: Where tasks start, and their masks.
        order: All nodes, each before those that it leads to.
    """
    found = dict.fromkeys(order, 0)
    outputs: dict[Node, dict[int, int]] = {node: {} for node in order if opaque(node)}

    def reach(node: Node, number: int, mask: int) -> None:
        if node in outputs:
            outputs[node][number] = outputs[node].get(number, 0) | mask
        else:
            found[node] |= mask

    for edge, mask in starts:
        reach(edge.node, edge.output_nr, mask)
    for node in order:
        if node in outputs:
            found[node] = reduce(and_, outputs[node].values())
        for child, number in node.next_functions:
            if child is not None:
                reach(child, number, found[node])
    return found
