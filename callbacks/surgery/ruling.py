"""Asking a vector's rule: what it sees of a step, under whichever precision and number of processes."""

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import Tensor

from mtlzoo.callbacks import collectives
from mtlzoo.callbacks.lightning_seams import scale_of, scaler_of
from mtlzoo.callbacks.rules.base import GradientRule, GramianRule
from mtlzoo.callbacks.surgery.combine import Weigh, combine, transform
from mtlzoo.callbacks.surgery.gramians import names_of_bad
from mtlzoo.callbacks.surgery.groups import Level
from mtlzoo.callbacks.surgery.loss_vector import LossVector
from mtlzoo.callbacks.surgery.step import Step


class Ruling:
    """Gives rules unscaled gradients of the global batch, and all processes the same answer.

    Args:
        level: What one Gramian is taken over.

    Attributes:
        names: The tasks of the last step.
        gramians: Its Gramians, [G, T, T] in float64; None before the first.
        weights: What the rule gave for them, [G, T].
        bad: Tasks of the last step whose gradient is not finite, as far as the host knows without waiting.
    """

    def __init__(self, level: Level) -> None:
        self.level = level
        self.names: list[str] = []
        self.gramians: Tensor | None = None
        self.weights: Tensor | None = None
        self.bad: list[str] = []
        # Known from `begin` on.
        self._trainer: L.Trainer
        self._module: L.LightningModule

    def begin(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Says what is trained."""
        self._trainer, self._module, self.bad = trainer, module, []

    @property
    def waits(self) -> bool:
        """Whether the host would wait for the device to see a number."""
        return self._module.device.type != "cpu"

    def gradients(self, vector: LossVector, step: Step, losses: Tensor, *, overflows: bool) -> dict[Tensor, Tensor]:
        """The rule's gradient of every parameter that tasks share.

        Args:
            vector: Whose rule it is; its groups know all that is shared.
            step: With settled gradients of the global batch.
            losses: [T], of the global batch.
            overflows: Whether the gradient scaler will skip this step, which then leaves no trace.
        """
        whole = getattr(vector.rule, "whole", False)  # then what no task happened to reach in this step counts as zero
        found = {p: entry for p, entry in step.gradients if entry.shared and (entry.rows or entry.dense or whole)}
        shared = {p: found[p] for p in vector.groups.first if p in found}  # in one order, whatever the graph's
        if not shared:
            return {}
        if overflows:
            return combine(shared, len(losses), vector.groups, _ones)
        if not isinstance(vector.rule, GradientRule):
            return combine(shared, len(losses), vector.groups, self.weigher(vector, step, losses))
        known = scaler_of(self._trainer) is not None or self.waits
        self.bad = [] if known or step.gradients.finite() else vector.names
        if not self._module.automatic_optimization:
            step.rewind(vector.rule, None)
        made = transform(shared, vector.rule, losses, scale_of(self._trainer))
        collectives.agree([one._values() if one.is_sparse else one for one in made.values()])
        return made

    def weigher(self, vector: LossVector, step: Step, losses: Tensor) -> Weigh:
        """The rule, for Gramians of gradients as they are: scaled, perhaps not finite."""
        scaled = scaler_of(self._trainer) is not None

        def weigh(gramians: Tensor, numbers: Tensor) -> Tensor:
            gramians = gramians / scale_of(self._trainer) ** 2 if scaled else gramians
            if step.reuse is not None:
                return step.reuse.to(gramians.device).expand(gramians.shape[:-1])
            if scaled and not gramians.isfinite().all():
                return _ones(gramians, numbers)
            if not scaled and not self.waits:
                self.bad = names_of_bad(vector.names, gramians)
            weights = self._weights(vector.rule, gramians, None if self.level == "model" else numbers, losses, step)
            collectives.agree([weights])
            vector.gramians, vector.weights = gramians, weights
            self.names, self.gramians, self.weights = vector.names, gramians, weights
            return weights

        return weigh

    def _weights(self, rule: Any, gramians: Tensor, numbers: Tensor | None, losses: Tensor, step: Step) -> Tensor:
        if not isinstance(rule, GramianRule):
            return torch.stack([_call(rule, gramian) for gramian in gramians])
        if not self._module.automatic_optimization:
            step.rewind(rule, numbers)
        weights: Tensor = rule(gramians, losses=losses if rule.needs_losses else None, groups=numbers)
        return weights.contiguous()


def _call(rule: Callable[[Tensor], Any], gramian: Tensor) -> Tensor:
    weights: Tensor = rule(gramian).detach()
    if weights.shape != gramian.shape[:1]:
        raise ValueError(
            f"The rule {rule!r} made {tuple(weights.shape)} of a Gramian {tuple(gramian.shape)}; it must give one "
            "weight per task, [T]. (Of torchjd take the ...Weighting classes, not the aggregators.)"
        )
    return weights.to(gramian)


def _ones(gramians: Tensor, numbers: Tensor) -> Tensor:
    """Weights of a step that the scaler will skip: what is not finite in the gradients tells it. No state changes."""
    return gramians.new_ones(gramians.shape[:-1])
