"""Listens to gates while a network trains: what they put out in a step, added up where they lie."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mtlzoo.callbacks.gates.facts import facts_of_output
from mtlzoo.callbacks.gates.names import GateNames


class GateTaps:
    """Hooks on gates that add up `facts_of_output`, between `start` and `take`.

    Args:
        module: The network.
        gates: Its gates.
    """

    def __init__(self, module: nn.Module, gates: Mapping[str, GateNames]) -> None:
        self.gates = gates
        self.sizes: list[int] = []
        """Length of each gate's facts, known after the first step."""
        self._checked = False
        self._heard: dict[str, Tensor] | None = None
        self._handles: list[RemovableHandle] = []
        for name, names in gates.items():
            self._handles.append(module.get_submodule(name).register_forward_hook(_hook(self, name, names)))

    def remove(self) -> None:
        """Takes the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def start(self) -> None:
        """A step begins."""
        self._heard = {}

    def take(self) -> Tensor:
        """The step's facts, of all gates one after the other; nothing is heard until the next one.

        Raises:
            ValueError: A gate was not called in the first step.
        """
        heard, self._heard = self._heard or {}, None
        if not self._checked:
            if missing := [name for name in self.gates if name not in heard]:
                raise ValueError(
                    f"GateMonitor: {missing} put out nothing in the first step of the training. Take them out of "
                    "modules=, or, where the network was compiled and used before, make and compile it anew: hooks on "
                    "a part of what is compiled already are not seen."
                )
            self.sizes, self._checked = [len(heard[name]) for name in self.gates], True
        like = next(iter(heard.values()), None)
        zeros = partial(torch.zeros, dtype=torch.float64, device=None if like is None else like.device)
        return torch.cat([heard.get(name, zeros(n)) for name, n in zip(self.gates, self.sizes, strict=True)])

    def hear(self, name: str, names: GateNames, output: Any) -> None:
        """Adds an output.

        Raises:
            ValueError: It can't be the weights of experts.
        """
        if self._heard is None:
            return
        experts = output.shape[-1] if isinstance(output, Tensor) and output.dim() else 0
        if experts < 2 or len(names.experts) not in (0, experts):
            found = f"the shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
            wanted = f"{len(names.experts)} experts" if names.experts else "two experts or more"
            raise ValueError(
                f"GateMonitor: the output of {name} should be weights [rows, experts] of {wanted}; found {found}."
            )
        facts = facts_of_output(output)
        self._heard[name] = self._heard[name] + facts if name in self._heard else facts


def _hook(taps: GateTaps, name: str, names: GateNames) -> Any:
    """A function, not a method: a network that is copied in training, as averages of weights are, copies no tap."""

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        taps.hear(name, names, output)

    return hook
