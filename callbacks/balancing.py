"""`LossBalancing`: weights of the tasks from their losses alone, at the cost of an ordinary step."""

import copy
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer

from mtlzoo.callbacks import collectives
from mtlzoo.callbacks.batches import rows_of
from mtlzoo.callbacks.described import described
from mtlzoo.callbacks.diagnostics import check_not_rows, not_finite, warn_of_no_losses
from mtlzoo.callbacks.handover import arranged, task_names
from mtlzoo.callbacks.lightning_seams import Backward, logs_now, scale_of, scaler_of
from mtlzoo.callbacks.roots import roots_of
from mtlzoo.callbacks.rules.base import GradientRule, GramianRule, LossRule


class LossBalancing(L.Callback):
    """Weighs the tasks' losses by a rule, in zoo models and any other module.

    The module hands over its losses as a vector [T], one per task, in automatic optimisation
    (``return {"loss": torch.stack(losses)}``) or manual (``self.manual_backward(torch.stack(losses))``), or in any
    other form that `GradientSurgery` takes. What follows
    is one ordinary backward pass of ``(weights * losses).sum()``: heads are weighted too, as in the rules' papers, and
    DDP, AMP and sparse gradients work as they do without us.

    Under DDP the rule sees the losses' means over the processes, and all take the first one's weights. Under fp16 it
    sees unscaled losses, and a step that the scaler skips leaves no trace in the rule. With accumulation it sees every
    micro-batch for itself: in automatic optimisation the losses as `training_step` returns them, not divided by the
    number of micro-batches; in manual what `manual_backward` gets. For zoo models with ``accumulate=k`` that is a k-th
    of a batch's losses, so that rules which depend on the losses' scale (UW, IMTLL) settle on other weights. The state
    of a rule is saved and resumed with the checkpoint.

    FAMO also needs the losses of the same batch after the optimiser's step: the module must have a method
    ``task_losses(batch) -> Tensor [T]``, as zoo models do. It is called without gradients in training mode, so layers
    that count batches (BatchNorm) see each of them twice. With automatic accumulation the last micro-batch is compared.

    Every `log_every_n_steps` of the trainer the weights are logged, as ``balancing/weight/<task>``, and their sum with
    the losses of that step, which is what the step descends, as ``train/balanced_loss``. Losses that a module logs stay
    what they were: ``train/loss`` of zoo models is the sum without the rule's weights, so that rules compare by it.

    Args:
        rule: A loss rule of `mtlzoo.callbacks.rules`, or one of your own.
        tasks: Names of the tasks in the order of the losses, for logs; by default the module's `task_names`, or their
            numbers.

    Raises:
        ValueError: A rule, module, trainer or loss that cannot be served; with what to do instead.
    """

    __repr__ = described

    def __init__(self, rule: LossRule, tasks: Sequence[str] | None = None) -> None:
        if isinstance(rule, GramianRule | GradientRule):
            name = type(rule).__name__
            raise ValueError(f"{name} weighs gradients; use GradientSurgery({name}(...)).")
        if not isinstance(rule, LossRule):
            raise ValueError(f"rule={rule!r}: give an object, as in LossBalancing(UW()); one's own extends LossRule.")
        self.rule = rule
        self.tasks = None if tasks is None else list(tasks)
        self.weights: Tensor | None = None
        """The last weights, [T] in float64."""
        self.loss: Tensor | None = None
        """The last sum of weights and losses, in float64: what was descended."""
        self._backward = Backward(self)
        # Known from `setup` to `teardown`; names only once losses have come.
        self._trainer: L.Trainer
        self._module: L.LightningModule
        self._names: list[str] = []
        self._epoch: int | None = None
        self._passes = 0
        self._rows = 0
        self._trained = False
        self._stepped = False
        self._before: tuple[Tensor, dict[str, Any], Tensor] | None = None

    # ---- Lightning

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Takes over `LightningModule.backward`."""
        if stage != "fit":
            return
        rule, module = type(self.rule).__name__, type(pl_module).__name__
        if self.rule.needs_losses_after_step and not callable(getattr(pl_module, "task_losses", None)):
            raise ValueError(
                f"LossBalancing: {rule} needs the losses of a batch again after the optimiser's step. Give {module} a "
                "method task_losses(batch) that returns the vector which training_step weighs, or take another rule."
            )
        self._backward.take(trainer, pl_module, self._run, self._single, replaces=False)
        self._trainer, self._module, self._trained = trainer, pl_module, False

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Moves the state of the rule to the module's device."""
        self.rule.to(pl_module.device)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Tells the rule that the epoch before this batch's has ended.

        Not in a hook of epochs: a training resumed from around the end of one may run them twice or not at all.
        """
        self._rows, self._trained = rows_of(batch), True
        if self._epoch not in (None, trainer.current_epoch):
            self.rule.end_epoch()
        self._epoch = trainer.current_epoch

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        """Notes that the losses so far are used up."""
        self._stepped = self._passes > 0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After a step: tells the rule the new losses if it asks for them, or takes back what was skipped."""
        if not self._stepped:
            return
        before, self._before, self._passes, self._stepped = self._before, None, 0, False
        if before is not None and self._skipped(before):
            self.rule.load_state_dict(before[1])
        elif self.rule.needs_losses_after_step:
            self.rule.update(self._losses_again(batch))
        if logs_now(trainer) and self.weights is not None:
            weights = dict(zip(self._names, self.weights.unbind(), strict=True))
            pl_module.log_dict({f"balancing/weight/{name}": weight for name, weight in weights.items()})
            if self.loss is not None:
                self._check_finite(self.loss)  # on a GPU the host waits for a number only where it is logged
                pl_module.log("train/balanced_loss", self.loss)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Warns where no losses of several tasks came."""
        if trainer.current_epoch == 0 and self._trained:  # a resumed epoch may hold no batch any more
            warn_of_no_losses(self, len(self._names))

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Gives `LightningModule.backward` back."""
        self._backward.give_back()
        self._names, self._before, self._passes, self._stepped = [], None, 0, False

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Gives `LightningModule.backward` back."""
        self.teardown(trainer, pl_module, "fit")

    def state_dict(self) -> dict[str, Any]:
        """The state of the rule, and the epoch that it knows of."""
        return {"rule": self.rule.state_dict(), "epoch": self._epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from `state_dict`."""
        self.rule.load_state_dict(state_dict["rule"])
        self._epoch = state_dict["epoch"]

    # ---- one backward pass

    def _run(self, losses: Tensor, names: list[str] | None, retain: bool) -> None:
        if not self._names:
            self._prepare(losses, names)
        if names is not None:
            missing = self.tasks is not None
            losses = arranged("LossBalancing", losses, names, self._names, missing=missing)
        if len(losses) != len(self._names):
            raise ValueError(
                f"LossBalancing: {len(losses)} losses, {len(self._names)} before, for the tasks {self._names}. Give "
                "all tasks' in every step, one name per loss."
            )
        self._passes += 1
        if self._passes > 1 and self.rule.needs_losses_after_step and not self._module.automatic_optimization:
            raise ValueError(
                f"LossBalancing: {type(self.rule).__name__} compares the losses of a batch before and after the "
                "optimiser's step; found several manual_backward calls before one. Don't cut batches up: accumulate=1."
            )
        weights = self._weights(losses.detach()).to(losses.dtype)
        self._single((weights * losses).sum(), **({"retain_graph": True} if retain else {}))

    def _single(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        type(self._module).backward(self._module, loss, *args, **kwargs)

    def _prepare(self, losses: Tensor, names: list[str] | None) -> None:
        if not losses.requires_grad and collectives.world_size() == 1:
            raise ValueError(
                "LossBalancing: no loss has a gradient. Losses that went through detach(), item(), numpy or "
                "torch.tensor(...) train nothing; stack the losses themselves: torch.stack([loss_a, loss_b])."
            )
        declared = self.tasks or names or task_names(self._module)
        if declared is None and losses.grad_fn is not None:
            _, separate = roots_of(losses)
            check_not_rows("LossBalancing", len(losses), self._rows, separate)
        found = list(declared or map(str, range(len(losses))))
        if names is None and len(found) != len(losses):
            raise ValueError(f"LossBalancing: {len(losses)} losses for the tasks {found}. Give one name per loss.")
        self._names = found
        self.rule.allocate(len(found))
        self.rule.to(self._module.device)

    def _weights(self, losses: Tensor) -> Tensor:
        scale = scale_of(self._trainer)
        # Lightning has divided the losses by the number of micro-batches, and multiplied them by the scale.
        factor = self._trainer.accumulate_grad_batches / (1.0 if scale is None else scale)
        losses = collectives.mean(losses.double() * factor)
        if scale is not None:
            overflows = ~losses.isfinite().all()
            before, state, earlier = self._before or (scale, copy.deepcopy(self.rule.state_dict()), overflows)
            self._before = before, state, earlier | overflows
            # What the rule makes of ones is taken back after the step.
            weights = self.rule(torch.where(overflows, 1.0, losses))
            # Of a step that overflows, what is not finite tells the scaler, whatever its weight.
            weights = torch.where(overflows, 1.0, weights)
        else:
            if losses.device.type == "cpu":
                self._check_finite(losses)
            weights = self.rule(losses)
        self.weights = weights.contiguous()
        # GPUs of two models round differently, and replicas that descend by other weights drift apart unseen.
        collectives.agree([self.weights])
        self.loss = self.weights @ losses
        return self.weights

    def _skipped(self, before: tuple[Tensor, dict[str, Any], Tensor]) -> bool:
        """Whether losses were not finite, or the scale shrank, by which the scaler says so: the host waits once."""
        scale, _, overflows = before
        now = scale_of(self._trainer)
        assert now is not None
        return bool((overflows | (now < scale)).item())

    def _check_finite(self, losses: Tensor) -> None:
        if scaler_of(self._trainer) is None and not (finite := losses.isfinite()).all():
            names = (
                self._names
                if finite.dim() == 0
                else [n for n, good in zip(self._names, finite, strict=True) if not good]
            )
            raise not_finite("LossBalancing: the loss", names, self._trainer.global_step)

    def _losses_again(self, batch: Any) -> Tensor:
        module: Any = self._module
        with torch.no_grad(), self._trainer.precision_plugin.train_step_context():
            losses = module.task_losses(batch)
        if not isinstance(losses, Tensor) or losses.shape != (len(self._names),):
            raise ValueError(
                f"LossBalancing: {type(module).__name__}.task_losses must return {len(self._names)} losses, as "
                f"training_step weighs them; found {losses!r}."
            )
        return collectives.mean(losses.double())
