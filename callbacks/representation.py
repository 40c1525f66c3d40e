"""The Gramian at the outputs of shared modules, instead of at their parameters: heads alone run backward for it."""

from collections.abc import Mapping, Sequence
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node
from torch.utils.hooks import RemovableHandle

from mtlzoo.callbacks import collectives
from mtlzoo.callbacks.gramians import gramian
from mtlzoo.callbacks.graph import TaskGraph


class Taps:
    """Keeps what named modules return in a training step.

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
        self.outputs: list[Tensor] = []
        self.handles: list[RemovableHandle] = [found[name].register_forward_hook(self._keep) for name in names]

    def _keep(self, module: Any, inputs: Any, output: Any) -> None:
        tensors = output if isinstance(output, tuple | list) else [output]
        self.outputs += [tensor for tensor in tensors if isinstance(tensor, Tensor) and tensor.requires_grad]

    def edges(self, graph: TaskGraph) -> list[GradientEdge]:
        """Where the outputs of this step are in the graph; they are kept no longer.

        Raises:
            ValueError: Modules that returned nothing, or one of which feeds another.
        """
        edges = [GradientEdge(z.grad_fn, z.output_nr) for z in self.outputs if z.grad_fn is not None]
        self.outputs = []
        if not edges:
            raise ValueError(f"GradientSurgery(at='representation'): {self.names} returned no tensor that trains.")
        tapped, below = {edge.node for edge in edges}, set[Node]()
        for node in graph.masks:
            if node in tapped and node in below:
                raise ValueError(
                    f"GradientSurgery(at='representation'): among {self.names} one module feeds another, so gradients "
                    "would count twice. Name only modules of which none reads what another returns."
                )
            if node in tapped or node in below:
                below.update(graph.edges[node])
        return edges

    def remove(self) -> None:
        """Takes the hooks out."""
        for handle in self.handles:
            handle.remove()


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
            total += gramian(torch.atleast_1d(*[row for row in rows if row is not None]))
    if collectives.world_size() > 1:
        dist.all_reduce(total)
        total /= collectives.world_size() ** 2
    return total
