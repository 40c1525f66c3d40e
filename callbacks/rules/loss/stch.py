"""STCH: a smooth maximum of the losses."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check, per_task
from mtlzoo.callbacks.rules.linalg.simplex import masked_softmax
from mtlzoo.callbacks.rules.loss.epochs import EpochMeans

Form = Literal["log", "linear"]


class STCH(EpochMeans):
    """Smooth Tchebycheff scalarization (Lin et al., ICML 2024): ``mu log sum_t exp(z_t / mu)``, in two forms.

    * "log" (the authors' multi-task code, and LibMTL): T times that value with ``z_t = log(L_t / N_t)``, N being the
      mean losses of the last of `warmup_epochs` epochs (or `reference`, without a warm-up), during which the value is
      ``sum_t log L_t``. Scale-free in every task.
    * "linear" (the paper's definition, and torchjd): ``z_t = p_t (L_t - z*_t)``, p being `weights` (1/T each where
      None) and z* `reference` (0 where None), the best losses one could hope for. `mu` then has the losses' scale.

    Its state are N and the means of the epoch. Tasks without loss (for "log": or with one below 0) are left out; one
    that had none in the last epoch of the warm-up has N = 1.

    Differs from LibMTL: its warm-up of n epochs takes n + 1; no absolute 1e-20 in the logarithms.

    Args:
        mu: Smoothness; towards 0 only the worst task counts.
        form: "log" or "linear".
        warmup_epochs: For "log" without `reference`; 0 leaves N at 1.
        weights: For "linear": one per task.
        reference: N or z*, one per task.
    """

    nadir: Tensor

    def __init__(
        self,
        mu: float = 1.0,
        form: Form = "log",
        warmup_epochs: int = 4,
        weights: Sequence[float] | None = None,
        reference: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        check(self, "mu", mu, "a positive number", mu > 0)
        check(self, "form", form, " or ".join(get_args(Form)), form in get_args(Form))
        check(self, "warmup_epochs", warmup_epochs, "a number of epochs >= 0", warmup_epochs >= 0)
        allowed = "one non-negative number per task, with form='linear'"
        check(
            self, "weights", weights, allowed, weights is None or (form == "linear" and min(weights, default=-1) >= 0)
        )
        if form == "log":
            allowed = "one positive number per task"
            check(self, "reference", reference, allowed, reference is None or min(reference, default=0) > 0)
        self.mu, self.form = mu, form
        self.warmup_epochs = warmup_epochs if form == "log" and reference is None else 0
        self.weights = None if weights is None else list(weights)
        self.reference = None if reference is None else list(reference)
        self.register_buffer("nadir", torch.zeros(0, dtype=torch.float64))

    def allocate(self, tasks: int) -> None:
        """Makes room for N."""
        super().allocate(tasks)
        if self.nadir.shape != (tasks,):
            self.nadir = self.nadir.new_ones(tasks)

    def solve(self, losses: Tensor, active: Tensor) -> Tensor:
        """The weights; see the class."""
        self.allocate(len(losses))
        self.collect(losses, active)
        if self.form == "linear":
            weights = per_task("STCH", "weights", self.weights, losses, 1.0 / len(losses))
            best = per_task("STCH", "reference", self.reference, losses, 0.0)
            return weights * masked_softmax(weights * (losses - best) / self.mu, active)
        active = active & ~(losses < 0)
        losses = torch.where(active, losses, 1.0)
        nadir = self.nadir if self.reference is None else per_task("STCH", "reference", self.reference, losses, 1.0)
        worst = active.sum() * masked_softmax((losses / nadir).log() / self.mu, active)
        return torch.where(self.epochs < self.warmup_epochs, active.double(), worst) / losses

    def end_epoch(self) -> None:
        """Takes the means of the last epoch of the warm-up as N."""
        means = self.take()
        last = (self.epochs == self.warmup_epochs) & (means > 0)
        self.nadir.copy_(torch.where(last, means, self.nadir))
