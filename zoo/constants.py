"""Buffers that a training does not change: never rounded to half precision, never sent to other processes."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mtlzoo.precision import HALF


class Constants(nn.Module):
    """A module with buffers that follow from its options or its data, the same in every process.

    They stay float32 where the module is made half (`half`, ``to(torch.bfloat16)``), and DDP, which sends the buffers
    of rank 0 to all before every forward, leaves them out: the graph of 7 million interactions has 168 MB.
    """

    constants: ClassVar[tuple[str, ...]] = ()
    """Names of these buffers, without those of submodules."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        before = {name: self._buffers[name] for name in self.constants}
        result = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, exact in before.items():
            now = self._buffers[name]
            if now is not None and exact is not None and now.dtype in HALF:
                self._buffers[name] = exact.to(now.device, torch.float32)
        return result


def constant_buffers(module: nn.Module) -> list[str]:
    """Names of all constant buffers of a module and its submodules."""
    return [
        f"{prefix}.{name}" if prefix else name
        for prefix, part in module.named_modules()
        if isinstance(part, Constants)
        for name in part.constants
    ]
