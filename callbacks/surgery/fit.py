"""`Fit`: what surgery asks the trainer and the module about, from `setup` to `teardown`."""

from typing import Any

import lightning as L
import torch
from torch import Tensor

from mtlzoo.callbacks.lightning_seams import more_follows, scale_of, scaler_of


class Fit:
    """One training of a module.

    Args:
        trainer: Of `lightning` or `pytorch_lightning`.
        module: What it trains.
    """

    def __init__(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.trainer, self.module = trainer, module

    def parameters(self) -> list[Tensor]:
        """What trains: parameters of the module, and any others that an optimiser holds."""
        groups = (group for optimizer in self.trainer.optimizers for group in optimizer.param_groups)
        held = (parameter for group in groups for parameter in group["params"])
        return list(dict.fromkeys([*self.module.parameters(), *held]))

    def names(self) -> dict[Tensor, str]:
        """The module's parameters' names; of those that only an optimiser knows none."""
        return {parameter: name for name, parameter in self.module.named_parameters()}

    def plain_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """The module's own, which surgery has taken the place of."""
        type(self.module).backward(self.module, loss, *args, **kwargs)

    @property
    def manual(self) -> bool:
        """Whether the module steps its optimisers itself."""
        return not self.module.automatic_optimization

    @property
    def more_follows(self) -> bool:
        """Whether more micro-batches of this step follow, as far as is known."""
        # In automatic optimisation Lightning knows; in manual only the module does.
        return bool(getattr(self.module, "accumulating", False)) if self.manual else more_follows(self.trainer)

    @property
    def device(self) -> torch.device:
        """Of the module."""
        return self.module.device

    @property
    def waits(self) -> bool:
        """Whether the host would wait for the device to see a number."""
        return self.device.type != "cpu"

    @property
    def scaled(self) -> bool:
        """Whether a gradient scaler multiplies losses, and skips steps that overflow."""
        return scaler_of(self.trainer) is not None

    @property
    def scale(self) -> Tensor | None:
        """What it multiplies losses by; None without one."""
        return scale_of(self.trainer)

    def unscaled(self, values: Tensor, degree: int = 1) -> Tensor:
        """Without what the scaler has multiplied: losses, gradients or, of degree 2, their inner products."""
        scale = self.scale
        return values if scale is None else values / scale**degree

    @property
    def step(self) -> int:
        """Of the trainer, for messages."""
        return self.trainer.global_step
