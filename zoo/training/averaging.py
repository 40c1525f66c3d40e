"""`WeightAverage`: validates and keeps an exponential moving average of the weights, trains the weights themselves."""

from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from mtlzoo.callbacks.lightning_seams import averaged_model, callbacks_of
from mtlzoo.constants import constant_buffers

RAW = "current_model_state"
"""Entry of a checkpoint with the weights that are trained; its ``state_dict`` has the average. As Lightning's callback
has it."""


class WeightAverage(L.Callback):
    """Averages weights, and statistics of batch norms, over the steps of a training.

    After step n an average moves to the weights by ``1 - min(decay, (1 + n) / (10 + n))`` (TensorFlow's
    ``ExponentialMovingAverage``): so it forgets the random start also in a training of a few hundred steps. Validations
    see the average, checkpoints hold it as the model's weights, and at the end the model has it. All weights are read
    and written in every step, also those of tables with ``sparse``.

    Where `lightning.pytorch.callbacks.EMAWeightAveraging` averages whole numbers as well, and looks once a parameter
    and step at a number on the device, this leaves them alone and never waits.

    Args:
        decay: Share of the average that stays in a step, in (0, 1).
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self._steps = 0
        self._weights: dict[str, Tensor] = {}
        self._average: dict[str, Tensor] = {}
        self._restored: Mapping[str, Tensor] = {}
        self._swapped = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Starts anew.

        Raises:
            ValueError: Another callback averages, too.
        """
        others = [callback for callback in callbacks_of(trainer) if isinstance(callback, WeightAveraging)]
        if stage == "fit" and others:
            raise ValueError(
                f"averaging={self.decay}, and {type(others[0]).__name__} averages the weights as well. Leave one out."
            )
        self._steps, self._swapped = 0, False
        self._weights, self._average, self._restored = {}, {}, {}

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Goes on with a checkpoint's average, also where nothing is left to train."""
        if self._restored:
            self._begin(pl_module)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begins with the weights of the start, which the processes have agreed on by now."""
        if not self._average:
            self._begin(pl_module)

    def _begin(self, module: nn.Module) -> None:
        self._weights = _averaged(module)
        start = {name: self._restored.get(name, weight) for name, weight in self._weights.items()}
        self._average = {name: start[name].detach().to(weight, copy=True) for name, weight in self._weights.items()}
        self._restored = {}

    @torch.no_grad()
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Moves the average to the weights, once a step of the optimiser."""
        step = trainer.global_step
        if step <= self._steps:
            return
        self._steps = step
        stays = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self._average.values()), list(self._weights.values()), 1 - stays)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Puts the average into the model."""
        if trainer.state.fn == "fit":
            self._swap(swapped=True)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Puts the weights back."""
        if trainer.state.fn == "fit":
            self._swap(swapped=False)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Puts the weights back where a validation was ended."""
        self._swap(swapped=False)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leaves the model with the average; the weights are kept for a checkpoint that somebody saves now."""
        self._swap(swapped=True)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """As `on_train_end`, where nothing was left to train."""
        self._swap(swapped=True)

    # ---- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """How many steps are averaged."""
        return {"steps": self._steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on."""
        self._steps = state_dict["steps"]

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Saves the average as the weights, and the weights beside them."""
        if not self._average:
            return
        here = checkpoint["state_dict"]
        there = here | {name: value for name, value in self._named(pl_module).items() if name in here}
        checkpoint["state_dict"], checkpoint[RAW] = (here, there) if self._swapped else (there, here)

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Goes on with average and weights; those of a training that averaged nothing are its average so far."""
        if RAW not in checkpoint:
            rank_zero_warn(f"averaging={self.decay}: the checkpoint has no average; it begins with the weights.")
            return
        self._restored = dict(checkpoint["state_dict"])
        pl_module.load_state_dict(checkpoint[RAW])

    def _named(self, module: nn.Module) -> dict[str, Tensor]:
        """The average by all names that its parts have in a checkpoint."""
        names = {id(weight): name for name, weight in self._weights.items()}
        every = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
        return {name: self._average[names[id(weight)]] for name, weight in every if id(weight) in names}

    @torch.no_grad()
    def _swap(self, *, swapped: bool) -> None:
        if self._swapped == swapped:
            return
        self._swapped = swapped
        for name, average in self._average.items():
            before = self._weights[name].clone()
            self._weights[name].copy_(average)
            average.copy_(before)


def check_averages(trainer: L.Trainer, module: nn.Module) -> None:
    """Refuses a callback of Lightning whose average of a whole number that stays the same is another number.

    Its averages take in all buffers; those of zoo models say which row of a table an id is.

    Raises:
        ValueError: An average that would look up other rows.
    """
    for callback in callbacks_of(trainer):
        average = averaged_model(callback) if isinstance(callback, WeightAveraging) else None
        if average is None or not average.use_buffers or average.avg_fn is None:
            continue
        for name, buffer in module.named_buffers():
            one = torch.ones((), device=buffer.device)
            if not buffer.is_floating_point() and not buffer.equal(average.avg_fn(buffer, buffer, one).to(buffer)):
                raise ValueError(
                    f"{type(callback).__name__} averages whole numbers, too, and its rounding makes others of the "
                    f"buffer {name}. Leave it out for --model.averaging, or give it use_buffers=False."
                )


def _averaged(module: nn.Module) -> dict[str, Tensor]:
    """Parameters, and buffers of real numbers that a training changes."""
    constant = set(constant_buffers(module))
    buffers = {name: b for name, b in module.named_buffers() if b.is_floating_point() and name not in constant}
    return {**dict(module.named_parameters()), **buffers}
