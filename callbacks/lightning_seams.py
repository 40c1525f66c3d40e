"""Where callbacks reach into Lightning: its call with the losses is taken over, and what it keeps to itself is read.

All that Lightning does not promise to keep is here, so that a new version of it can break this file alone.
"""

import functools
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from mtlzoo.callbacks.float64 import check_float64
from mtlzoo.callbacks.handover import check_beside, check_losses, stacked

_TAKEN = ("training_step", "manual_backward", "backward")
Run = Callable[[Tensor, list[str] | None, bool], None]
"""Gets the losses [T], their names if the module gave any, and whether the graph is needed after this."""


class Backward:
    """Puts functions of ours in the place of a module's `backward`, which Lightning calls with the losses.

    `training_step` and `manual_backward` are passed on, so that losses may come in other forms than a vector: a
    dictionary or a list, or a vector beside the number that everybody else sees.

    Args:
        owner: The callback, for messages.
    """

    def __init__(self, owner: L.Callback) -> None:
        self.owner = owner
        self.name = type(owner).__name__
        self._trainer: L.Trainer
        self._module: L.LightningModule | None = None
        self._before: dict[str, Any] = {}
        self._beside: Tensor | None = None
        self._compared = False
        self._names: list[str] | None = None

    def take(
        self, trainer: L.Trainer, module: L.LightningModule, run: Run, single: Callable[..., None], *, replaces: bool
    ) -> None:
        """Takes over, in `Callback.setup`.

        Args:
            trainer: Of `lightning` or `pytorch_lightning`.
            module: The module.
            run: Gets every vector of losses.
            single: Gets what `manual_backward` gets of one loss alone, with the arguments of `backward`.
            replaces: Whether `run` does without the module's own `backward`.

        Raises:
            ValueError: A strategy that splits or reduces gradients in its own way, a device without float64, a module
                with a `backward` of its own, or a second callback like this one.
        """
        self._check_strategy(trainer)
        check_float64(self.name, trainer)
        self._check_module(module, replaces)
        self._trainer, self._module = trainer, module
        self._before = {name: module.__dict__[name] for name in _TAKEN if name in module.__dict__}
        self._beside, self._names = None, None
        step, manual = module.training_step, module.manual_backward

        @functools.wraps(step)
        def training_step(*args: Any, **kwargs: Any) -> Any:
            return self._handed(module, step(*args, **kwargs))

        @functools.wraps(manual)
        def manual_backward(loss: Any, *args: Any, **kwargs: Any) -> None:
            loss, self._names = stacked(self.name, loss)
            manual(loss, *args, **kwargs)

        def backward(loss: Any, *args: Any, **kwargs: Any) -> None:
            names, self._names = self._names, None
            arguments = kwargs | {str(place): argument for place, argument in enumerate(args)}
            if self._beside is not None:
                # Lightning has divided the number by that of micro-batches, and multiplied it by the scaler's scale.
                scale = scale_of(trainer)
                factor = (1.0 if scale is None else scale) / trainer.accumulate_grad_batches
                loss, self._beside = self._beside * factor, None
            elif not module.automatic_optimization and isinstance(loss, Tensor) and loss.numel() == 1:
                single(loss, *args, **kwargs)
                return
            elif module.automatic_optimization:
                self._check_nobody_wants_a_number(trainer)
            check_losses(self.name, loss, arguments)
            run(loss, names, bool(kwargs.get("retain_graph")))

        # Functions, not methods: a module that is copied in training, as averages of weights are, doesn't copy us.
        taken: dict[str, Any] = {"training_step": training_step}
        # A module that is compiled as a whole must not have surgery compiled with it.
        taken |= {one.__name__: torch.compiler.disable(one) for one in (manual_backward, backward)}
        taken["backward"].owner, taken["backward"].module = self.owner, weakref.ref(module)
        for name, function in taken.items():
            object.__setattr__(module, name, function)

    def give_back(self) -> None:
        """Restores the module's own; called twice, it does nothing."""
        if self._module is not None:
            for name in _TAKEN:
                self._module.__dict__.pop(name, None)
            self._module.__dict__.update(self._before)
            self._module, self._beside, self._names = None, None, None

    # ---- the forms of losses

    def _handed(self, module: L.LightningModule, output: Any) -> Any:
        """Takes the losses out of what `training_step` returned; Lightning gets what it can work with."""
        self._beside, self._names = None, None
        if not module.automatic_optimization or output is None or isinstance(output, Tensor):
            return output
        if not isinstance(output, Mapping):
            output, self._names = stacked(self.name, output)
            return output
        loss = output.get("loss")
        if "losses" in output and isinstance(loss, Tensor) and loss.numel() == 1:
            self._beside, self._names = stacked(self.name, output["losses"])
            check_losses(self.name, self._beside, {})
            if not self._compared:
                self._compared = True
                check_beside(float(loss.detach()), self._beside.detach().tolist())
            return output
        if isinstance(loss, Mapping | list | tuple):
            vector, self._names = stacked(self.name, loss)
            return {**output, "loss": vector}
        return output

    # ---- what is refused

    def _check_nobody_wants_a_number(self, trainer: L.Trainer) -> None:
        wants = {type(one).__name__ for one in (*trainer.optimizers, *callbacks_of(trainer))}
        if found := wants & {"LBFGS", "_LRCallback"}:
            who = "LBFGS" if "LBFGS" in found else "The learning rate finder"
            raise ValueError(
                f"{self.name}: {who} asks for the loss as a number. Return it beside the losses: "
                "{'loss': loss_a + loss_b, 'losses': torch.stack([loss_a, loss_b])}."
            )

    def _check_strategy(self, trainer: L.Trainer) -> None:
        strategy = trainer.strategy
        # By name: `lightning` and `pytorch_lightning` are one code base in two packages.
        kinds = {kind.__name__ for kind in type(strategy).__mro__}
        if "DeepSpeedStrategy" in kinds or not kinds & {"SingleDeviceStrategy", "DDPStrategy"}:
            raise ValueError(
                f"{self.name}: strategy {type(strategy).__name__} keeps gradients in parts that a rule never sees as a "
                "whole; it would be wrong in silence. Allowed are one device and DDP: Trainer(strategy='ddp')."
            )
        if getattr(strategy, "_ddp_kwargs", {}).get("static_graph"):
            raise ValueError(
                f"{self.name}: DDP with static_graph=True reduces gradients by itself. Leave static_graph out."
            )

    def _check_module(self, module: L.LightningModule, replaces: bool) -> None:
        there = module.__dict__.get("backward")
        if there is not None and getattr(there, "module", lambda: module)() is not module:
            for name in _TAKEN:
                module.__dict__.pop(name, None)  # a copy of a module that was trained with us
        elif there is not None:
            owner = getattr(there, "owner", None)
            raise ValueError(
                f"{self.name}: {'something else' if owner is None else type(owner).__name__} has taken over "
                f"{type(module).__name__}.backward already. Keep one callback that weighs tasks or their gradients."
            )
        home = next(one for one in type(module).__mro__ if "backward" in vars(one))
        ours = home.__module__.partition(".")[0] in ("lightning", "pytorch_lightning") or vars(home).get("sums_losses")
        if replaces and not ours:
            raise ValueError(
                f"{self.name} takes the place of `backward`, and {home.__name__} has one of its own, which would never "
                "be called. Take it out: what it does to losses belongs into training_step, what it does to gradients "
                "into on_after_backward. If it only sums the losses, say so with `sums_losses = True` in that class."
            )


def callbacks_of(trainer: L.Trainer) -> list[L.Callback]:
    """All callbacks of a trainer."""
    found: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
    return found


def averaged_model(callback: WeightAveraging) -> AveragedModel | None:
    """What Lightning's callback averages in; None outside of a training."""
    return callback._average_model


def more_follows(trainer: L.Trainer) -> bool:
    """Whether Lightning accumulates: no step of the optimiser ends this batch."""
    return trainer.fit_loop._should_accumulate()


def logged_step(trainer: L.Trainer) -> int:
    """The step under which Lightning itself logs."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def logs_now(trainer: L.Trainer) -> bool:
    """Whether Lightning hands to its loggers what is logged in this step."""
    return trainer._logger_connector.should_update_logs


def log_every_n_steps(trainer: L.Trainer) -> int:
    """Steps between two logs; 0 for none."""
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
    return every


def log(trainer: L.Trainer, values: Mapping[str, float], step: int | None = None) -> None:
    """Logs numbers at a time of one's own: `LightningModule.log` hands them on every `log_every_n_steps` only.

    Args:
        trainer: The trainer.
        values: By name.
        step: Under which loggers get them; None: the one under which Lightning would log now.
    """
    trainer.callback_metrics.update({name: torch.tensor(value) for name, value in values.items()})
    for logger in trainer.loggers if trainer.is_global_zero else ():
        logger.log_metrics(dict(values), step=logged_step(trainer) if step is None else step)


def scaler_of(trainer: L.Trainer) -> Any:
    """The gradient scaler of fp16, or None."""
    return getattr(trainer.precision_plugin, "scaler", None)


def scale_of(trainer: L.Trainer) -> Tensor | None:
    """What the gradient scaler multiplies losses by, in float64 where they lie; None without one.

    What it does to 1 says it: for `get_scale` the host would wait for the device.
    """
    scaler = scaler_of(trainer)
    if scaler is None:
        return None
    scale: Tensor = scaler.scale(torch.ones((), dtype=torch.float64, device=trainer.strategy.root_device))
    return scale
