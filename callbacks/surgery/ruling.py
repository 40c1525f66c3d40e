"""Asking a vector's rule: what it sees of a step, under whichever precision and number of processes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mtlzoo.callbacks import collectives
from mtlzoo.callbacks.diagnostics import not_finite
from mtlzoo.callbacks.rules.base import GradientRule, GramianRule
from mtlzoo.callbacks.surgery.combine import Weigh, combine, transform
from mtlzoo.callbacks.surgery.fit import Fit
from mtlzoo.callbacks.surgery.gramians import names_of_bad
from mtlzoo.callbacks.surgery.loss_vector import LossVector
from mtlzoo.callbacks.surgery.step import Step


class Ruling:
    """Gives rules unscaled gradients of the global batch, and all processes the same answer.

    Attributes:
        names: The tasks of the last step.
        gramians: Its Gramians, [G, T, T] in float64; None before the first.
        weights: What the rule gave for them, [G, T].
        bad: Tasks of the last step whose gradient is not finite, as far as the host knows without waiting.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.gramians: Tensor | None = None
        self.weights: Tensor | None = None
        self.bad: list[str] = []
        # Known from `begin` on.
        self._fit: Fit

    def begin(self, fit: Fit) -> None:
        """Says what is trained."""
        self._fit, self.bad = fit, []

    def check_finite(self) -> None:
        """Looks at the last Gramians where the host has to wait for them: only now and then.

        Raises:
            FloatingPointError: One is not finite, and no scaler skips such steps.
        """
        seen = self._fit.waits and not self._fit.scaled
        if seen and self.gramians is not None and (bad := names_of_bad(self.names, self.gramians)):
            raise not_finite("GradientSurgery: the gradient", bad, self._fit.step)

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
        if overflows or not isinstance(vector.rule, GradientRule):
            weigh = self.weigher(vector, step, losses, overflows=overflows)
            return combine(shared, len(losses), vector.groups, weigh)
        known = self._fit.scaled or self._fit.waits
        self.bad = [] if known or step.gradients.finite() else vector.names
        if self._fit.manual:
            step.rewind(vector.rule, None)
        made = transform(shared, vector.rule, losses, self._fit.scale)
        collectives.agree([one._values() if one.is_sparse else one for one in made.values()])
        return made

    def weigher(self, vector: LossVector, step: Step, losses: Tensor, *, overflows: bool) -> Weigh:
        """The rule, for Gramians of gradients as they are, scaled.

        Args:
            vector: Whose rule it is.
            step: Of the gradients.
            losses: [T], of the global batch.
            overflows: Whether the gradient scaler will skip this step: what is not finite in the gradients tells it.
        """

        def weigh(gramians: Tensor, numbers: Tensor) -> Tensor:
            if overflows:
                return gramians.new_ones(gramians.shape[:-1])  # no state changes
            gramians = self._fit.unscaled(gramians, 2)
            if step.reuse is not None:
                return step.reuse.expand(gramians.shape[:-1])
            if not self._fit.scaled and not self._fit.waits:
                self.bad = names_of_bad(vector.names, gramians)
            places = None if vector.groups.level == "model" else numbers
            weights = self._weights(vector.rule, gramians, places, losses, step)
            collectives.agree([weights])
            vector.gramians, vector.weights = gramians, weights
            self.names, self.gramians, self.weights = vector.names, gramians, weights
            return weights

        return weigh

    def _weights(self, rule: Any, gramians: Tensor, numbers: Tensor | None, losses: Tensor, step: Step) -> Tensor:
        if not isinstance(rule, GramianRule):
            return torch.stack([_call(rule, gramian) for gramian in gramians])
        if self._fit.manual:
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
