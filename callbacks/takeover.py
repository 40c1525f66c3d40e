"""Taking over `LightningModule.backward`, and giving it back."""

from collections.abc import Callable
from typing import Any

import lightning as L
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, SingleDeviceStrategy
from torch import Tensor

_HOW = (
    "Return one loss per task as a vector: `return {'loss': torch.stack([loss_a, loss_b])}` from training_step, or "
    "`self.manual_backward(torch.stack([loss_a, loss_b]))` in manual optimisation."
)


class Backward:
    """Puts a function in the place of a module's `backward`, which Lightning calls with the losses.

    Args:
        owner: The callback, for messages.
    """

    def __init__(self, owner: L.Callback) -> None:
        self.owner = owner
        self.module: L.LightningModule | None = None

    def take(self, trainer: L.Trainer, module: L.LightningModule, function: Callable[..., None]) -> None:
        """Takes over, in `Callback.setup`.

        Raises:
            ValueError: A strategy that splits or reduces gradients in its own way, or a second callback like this one.
        """
        name = type(self.owner).__name__
        strategy = trainer.strategy
        if isinstance(strategy, DeepSpeedStrategy) or not isinstance(strategy, SingleDeviceStrategy | DDPStrategy):
            raise ValueError(
                f"{name}: strategy {type(strategy).__name__} keeps gradients in parts that a rule never sees as a "
                "whole; it would be wrong in silence. Allowed are one device and DDP: Trainer(strategy='ddp')."
            )
        if isinstance(strategy, DDPStrategy) and strategy._ddp_kwargs.get("static_graph"):
            raise ValueError(f"{name}: DDP with static_graph=True reduces gradients by itself. Leave static_graph out.")
        if "backward" in module.__dict__:
            other = getattr(module.__dict__["backward"], "__self__", None)
            raise ValueError(
                f"{name}: {type(other).__name__ if other is not None else 'something else'} has taken over "
                f"{type(module).__name__}.backward already. Keep one callback that weighs tasks or their gradients."
            )
        self.module = module
        object.__setattr__(module, "backward", function)

    def give_back(self) -> None:
        """Restores the module's own `backward`; called twice, it does nothing."""
        if self.module is not None:
            self.module.__dict__.pop("backward", None)
            self.module = None


def check_losses(owner: L.Callback, losses: Tensor, arguments: dict[str, Any]) -> None:
    """Refuses what is not a vector of several tasks' losses.

    Raises:
        ValueError: A scalar, one task, or arguments of `backward` that a rule cannot honour.
    """
    name = type(owner).__name__
    if not isinstance(losses, Tensor) or losses.dim() != 1:
        found = f"the shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
        raise ValueError(f"{name} needs the losses of all tasks, a vector [T]; found {found}. {_HOW}")
    if len(losses) < 2:
        raise ValueError(f"{name} needs two tasks or more; found T = 1. Take the callback out. {_HOW}")
    wrong = {key: value for key, value in arguments.items() if key != "retain_graph" and value}
    if wrong:
        raise ValueError(f"{name}: backward({', '.join(wrong)}=...) is not supported; allowed is retain_graph.")
