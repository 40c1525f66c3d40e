"""Where the graph does not tell which tasks reach what lies below: there its masks are upper bounds.

Two places hide it. Nodes that autograd can't see into (functions of one's own, blocks that `torch.compile` or
TorchScript made one of): all that such a node has below it lies below each of its outputs. And tensors that are put
together, as heads' outputs by `cat` or `stack`, of which each task takes its own part: the node has all parts below it.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import and_, or_
from typing import Any

from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import GradientEdge, Node

from mtlzoo.callbacks.roots import ELEMENTWISE, shape

JOINING = frozenset(("CatBackward0", "StackBackward0"))
"""Nodes that put tensors together along a dimension."""
NARROWING = frozenset(
    f"{name}Backward0" for name in ("Select", "Slice", "Split", "SplitWithSizes", "Unbind", "Index", "IndexSelect")
)
"""Nodes that take a part of a tensor along a dimension."""
_BY_ELEMENT = ELEMENTWISE | {
    f"{name}Backward{number}"
    for name in ("Elu", "Gelu", "HardTanh", "LeakyRelu", "LogSigmoid", "Relu", "Sigmoid", "Silu", "Softplus", "Tanh")
    for number in (0, 1)
}


_BLOCKS = ("DifferentiableGraphBackward", "CppNode")  # of TorchScript, and functions that C++ defines


def opaque(node: Node, name: str) -> bool:
    """Whether autograd runs a node, of this name, as one piece that may hold anything."""
    return isinstance(node, BackwardCFunction) or ("::" in name and any(block in name for block in _BLOCKS))


def hiding(names: Iterable[tuple[Node, str]], masks: Mapping[Node, int]) -> tuple[bool, bool]:
    """Whether there are opaque nodes, and whether tensors that several tasks read are put together and taken apart."""
    blind, joined, taken = False, False, False
    for node, name in names:
        if name in JOINING:
            joined = joined or masks[node] & (masks[node] - 1) != 0
        elif name in NARROWING:
            below = masks[node.next_functions[0][0]] if node.next_functions[0][0] is not None else 0
            taken = taken or below & (below - 1) != 0
        else:
            blind = blind or opaque(node, name)
    return blind, joined and taken


def certain_masks(
    starts: Iterable[tuple[GradientEdge, int]], order: Sequence[Node], masks: Mapping[Node, int]
) -> dict[Node, int]:
    """Tasks that reach each node without doubt.

    Past an opaque node those are the tasks that read all of its outputs in use; past one that puts tensors together,
    those that do not come by a part along the same dimension.

    Args:
        starts: Where tasks start, and their masks.
        order: All nodes, each before those that it leads to.
        masks: Tasks that reach each, at most.
    """
    reached = _Reached(order)
    for edge, mask in starts:
        reached.add(edge.node, edge.output_nr, mask)
    for node in order:
        _pass_on(node, reached, masks)
    return {node: reached.all(node) for node in order}


class _Reached:
    """Tasks by node, as far as they are certain: by the whole of its outputs, or by a part along a dimension."""

    def __init__(self, order: Iterable[Node]) -> None:
        self.whole: dict[Node, int] = {}
        self.parts: dict[Node, dict[int, int]] = {}
        self.outputs: dict[Node, dict[int, int]] = {node: {} for node in order if len(_outputs(node)) > 1}

    def add(self, node: Node, number: int, mask: int, dim: int | None = None) -> None:
        if node in self.outputs:
            self.outputs[node][number] = self.outputs[node].get(number, 0) | mask
        if dim is None:
            self.whole[node] = self.whole.get(node, 0) | mask
        else:
            parts = self.parts.setdefault(node, {})
            parts[dim] = parts.get(dim, 0) | mask

    def of_all_outputs(self, node: Node) -> int:
        return reduce(and_, self.outputs[node].values()) if node in self.outputs else self.all(node)

    def all(self, node: Node) -> int:
        return reduce(or_, self.parts.get(node, {}).values(), self.whole.get(node, 0))


def _pass_on(node: Node, reached: _Reached, masks: Mapping[Node, int]) -> None:
    """Tells the nodes below which tasks come through this one."""
    name = node.name()
    if opaque(node, name):
        reached.whole[node], reached.parts[node] = reached.of_all_outputs(node), {}
    below = [(child, number) for child, number in node.next_functions if child is not None]
    mask, parts = reached.all(node), reached.parts.get(node, {})
    if name in JOINING:
        along = _dim(node, GradientEdge(node, 0))
        mask = reduce(or_, (some for dim, some in parts.items() if dim != along), reached.whole.get(node, 0))
    for child, number in below:
        edge = GradientEdge(child, number)
        taken = _dim(node, edge) if name in NARROWING and reached.of_all_outputs(node) != masks[child] else None
        if parts and name in _BY_ELEMENT and shape(edge) == shape(GradientEdge(node, 0)):
            reached.add(child, number, reached.whole.get(node, 0))
            for dim, some in parts.items():
                reached.add(child, number, some, dim)
        else:
            reached.add(child, number, mask, taken)


def _dim(node: Any, edge: GradientEdge) -> int | None:
    """The dimension of the edge's tensor along which the node joins or takes; None where it is not one."""
    if node.name() == "IndexBackward0":
        dims = [dim for dim, index in enumerate(node._saved_indices) if index is not None]
        return dims[0] if len(dims) == 1 else None
    dim: int = node._saved_dim
    return (dim - 2**64 if dim >= 2**63 else dim) % len(shape(edge))


def _outputs(node: Any) -> Sequence[Any]:
    outputs: Sequence[Any] = node._input_metadata
    return outputs
