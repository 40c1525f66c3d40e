"""The Gramian at the outputs of shared modules, instead of at their parameters: heads alone run backward for it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, Node
from torch.utils.hooks import RemovableHandle

from mtlzoo.callbacks import collectives
from mtlzoo.callbacks.surgery.gramians import gramian
from mtlzoo.callbacks.surgery.graph import TaskGraph, alone
from mtlzoo.callbacks.surgery.reals import real


class Taps:
    """Keeps what named modules return, from `start` to `stop`; a module may be called any number of times.

    Args:
        module: The module that has them.
        names: Of submodules, as `named_modules` calls them. No output may feed another's module.

    Raises:
        ValueError: No names, or ones that the module does not have.
    """

    def __init__(self, module: L.LightningModule, names: Sequence[str]) -> None:
        found = dict(module.named_modules())
        if not names or (missing := [name for name in names if name not in found]):
            what = f"has no modules {missing}; it has {sorted(filter(None, found))}" if names else "declares none"
            raise ValueError(
                f"GradientSurgery(at='representation') needs the shared modules whose outputs all tasks read; "
                f"{type(module).__name__} {what}. Name them: modules=['trunk']."
            )
        self.names = list(names)
        self.outputs: list[tuple[nn.Module, Tensor]] = []
        self.open = False
        self.handles: list[RemovableHandle] = [found[name].register_forward_hook(self._keep) for name in names]

    def _keep(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if self.open:
            self.outputs += [(module, tensor) for tensor in _tensors(output) if tensor.requires_grad]

    def start(self) -> None:
        """Keeps outputs from now on: a training step begins."""
        self.outputs, self.open = [], True

    def stop(self) -> None:
        """Forgets the outputs, and with them their graphs, and keeps none: what runs next is no training step."""
        self.outputs, self.open = [], False

    def edges(self, graph: TaskGraph) -> list[GradientEdge]:
        """Where the outputs of this step are in the graph; they are kept no longer.

        Of one module's outputs one may come of another (a pooled one of the last hidden state, of a cell the second of
        the first): each counts for what reads it past the others.

        Raises:
            ValueError: Modules that returned nothing, or one of which feeds another.
        """
        owners = {(z.grad_fn, z.output_nr): module for module, z in self.outputs if z.grad_fn is not None}
        self.outputs = []
        if not owners:
            raise ValueError(f"GradientSurgery(at='representation'): {self.names} returned no tensor that trains.")
        feeding = self._feeding(graph, {node: module for (node, _), module in owners.items()})
        # A task's own output lets its gradient through to what it comes of, which counts it.
        return [
            GradientEdge(node, number) for node, number in owners if not (node in feeding and alone(graph.masks[node]))
        ]

    def _feeding(self, graph: TaskGraph, owners: Mapping[Node, nn.Module]) -> set[Node]:
        """Those of the outputs' nodes that come of another output."""
        bits = {node: 1 << place for place, node in enumerate(owners)}
        above: dict[Node, int] = {}
        found: set[Node] = set()
        for node in graph.masks:
            mask = above.get(node, 0)
            if mask and node in owners:
                later = [one for one, bit in bits.items() if mask & bit]
                if any(owners[one] is not owners[node] for one in later):
                    raise ValueError(
                        f"GradientSurgery(at='representation'): among {self.names} one module feeds another, so "
                        "gradients would count twice. Name only modules of which none reads what another returns."
                    )
                found.update(later)
            if mask := mask | bits.get(node, 0):
                for child in graph.edges[node]:
                    above[child] = above.get(child, 0) | mask
        return found

    def remove(self) -> None:
        """Takes the hooks out."""
        self.stop()
        for handle in self.handles:
            handle.remove()


def _tensors(output: Any) -> Iterator[Tensor]:
    """The tensors in what a module returns: lists, named tuples, dictionaries and dataclasses, in each other."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from (tensor for one in output.values() for tensor in _tensors(one))
    elif isinstance(output, tuple | list):
        yield from (tensor for one in output for tensor in _tensors(one))
    elif is_dataclass(output) and not isinstance(output, type):
        yield from (tensor for one in fields(output) for tensor in _tensors(getattr(output, one.name)))


def tapped_gramian(tapped: Sequence[Mapping[int, Tensor]], tasks: int, device: torch.device) -> Tensor:
    """Inner products of the tasks' gradients at the outputs, [T, T] in float64, over the global batch.

    Rows of a batch lie on one process each, so the processes' Gramians add up exactly.

    Args:
        tapped: For each of the outputs, its gradients by task.
        tasks: T.
        device: Where it is computed.
    """
    total = torch.zeros(tasks, tasks, dtype=torch.float64, device=device)
    for by_task in tapped:
        if by_task:
            zeros = None if len(by_task) == tasks else torch.zeros_like(next(iter(by_task.values())))
            rows = [by_task.get(task, zeros) for task in range(tasks)]
            total += gramian(torch.atleast_1d(*[real(row) for row in rows if row is not None]))
    if collectives.world_size() > 1:
        dist.all_reduce(total)
        total /= collectives.world_size() ** 2
    return total
