"""`GradNorm`: weights that learn to make gradients as long as the tasks' speed of learning asks for."""

from typing import ClassVar

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check
from mtlzoo.callbacks.rules.base import GramianRule
from mtlzoo.callbacks.rules.linalg.cosines import norms_of
from mtlzoo.callbacks.rules.state import read_state, write_state


class GradNorm(GramianRule):
    """GradNorm (Chen et al., "GradNorm: Gradient Normalization for Adaptive Loss Balancing", ICML 2018).

    ``v = A softmax(phi)`` over the A tasks with gradient, n the norms, ``r_t = (L_t / L_t0) / mean_s (L_s / L_s0)``.
    The result is ``J^T v``; then phi takes one step down ``sum_t |v_t n_t - mean(v n) r_t^alpha| / mean(v n)``, with
    the target ``mean(v n) r_t^alpha`` held constant.

    Needs the squared norms and the losses. State: `logits` [groups, T], one phi per group, 8 bytes per group and task,
    and `first_losses` [T], each task's first loss that was not 0. Multiplying all gradients by c changes nothing. A
    task without gradient keeps its logit and counts in no mean; nor does one whose loss is exactly 0 (nobody observed
    it). Losses must not be negative: they give NaN.

    The paper minimises the sum itself by Adam, whose steps do not depend on its scale. Here the step is plain descent
    on the sum in units of the mean norm, for the same reason and without moments per group; the softmax instead of
    renormalised weights is LibMTL's, and keeps weights positive. LibMTL lets the main optimiser train phi. torchjd
    doesn't have it.

    Args:
        alpha: How strongly slow tasks are favoured; 0: equal norms.
        lr: Step of phi; 0 keeps the weights as they are.

    Raises:
        ValueError: A negative argument.
    """

    needs_losses: ClassVar[bool] = True
    by_group: ClassVar[tuple[str, ...]] = ("logits",)
    logits: Tensor
    first_losses: Tensor

    def __init__(self, alpha: float = 1.5, lr: float = 0.025) -> None:
        super().__init__()
        check(self, "alpha", alpha, "a number >= 0", alpha >= 0)
        check(self, "lr", lr, "a number >= 0", lr >= 0)
        self.alpha, self.lr = alpha, lr
        self.register_buffer("logits", torch.empty(0, dtype=torch.float64))
        self.register_buffer("first_losses", torch.empty(0, dtype=torch.float64))

    def allocate(self, groups: int, tasks: int) -> None:
        """Equal weights, no losses seen."""
        if self.logits.shape != (groups, tasks):
            self.logits = self.logits.new_zeros(groups, tasks)
            self.first_losses = self.first_losses.new_zeros(tasks)

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """The weights, then a step."""
        assert losses is not None  # `forward` sees to it
        logits = read_state(self, self.logits, gramian.shape[:-2], gramian.shape[-1], groups)
        losses = torch.where(losses < 0, torch.nan, losses.double())
        self.first_losses.copy_(torch.where((self.first_losses == 0) & losses.isfinite(), losses, self.first_losses))
        active = active & (losses != 0)
        weights, gradient = objective(
            logits,
            norms_of(gramian, active),
            active,
            losses / torch.where(losses == 0, 1.0, self.first_losses),
            self.alpha,
        )
        write_state(self.logits, logits, logits - self.lr * gradient, groups)
        return weights


def objective(logits: Tensor, norms: Tensor, active: Tensor, progress: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Weights of GradNorm, and the derivatives of its objective, in units of the mean norm, by the logits.

    Args:
        logits: [..., T].
        norms: [..., T].
        active: [..., T], which tasks take part; the others get weight and derivative 0.
        progress: [T], each loss over the task's first.
        alpha: Exponent.

    Returns:
        [..., T] and [..., T].
    """
    count = active.sum(-1, keepdim=True)
    # Tasks that take no part are far below the others, but finite: there may be no others.
    shares = torch.where(active, torch.where(active, logits, torch.finfo(logits.dtype).min).softmax(-1), 0.0)
    weights = count * shares
    lengths = torch.where(active, weights * norms, 0.0)
    mean = lengths.sum(-1, keepdim=True) / count.clamp_min(1)
    progress = torch.where(active, progress, 0.0)
    rate = progress * count / torch.where(active.any(-1, keepdim=True), progress.sum(-1, keepdim=True), 1.0)
    slopes = torch.sign(lengths - mean * rate**alpha) * lengths / torch.where(mean == 0, 1.0, mean)
    weights = torch.where(rate.isfinite() & mean.isfinite(), weights, torch.nan)
    return weights, torch.where(active, slopes - shares * slopes.sum(-1, keepdim=True), 0.0)
