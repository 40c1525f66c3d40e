"""FAMO: all losses fall at the same rate, from the losses alone."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check, per_task
from mtlzoo.callbacks.rules.base import LossRule
from mtlzoo.callbacks.rules.linalg.simplex import masked_softmax
from mtlzoo.callbacks.rules.loss import adam


class FAMO(LossRule):
    """Fast adaptive multitask optimization (Liu et al., NeurIPS 2023).

    ``w_t = c z_t / D_t``, ``D_t = L_t - min_losses_t``, ``z = softmax(xi)``, ``c`` such that the weights add up to 1.
    After the optimiser's step, the losses of the same batch tell how much each task gained,
    ``delta_t = log D_t - log D_t'``, and xi takes a step of Adam that lowers the z of those who gained most.

    Needs a second forward pass of every batch (`needs_losses_after_step`). Scale-free in every task (without
    `min_losses`). Its state is xi with Adam's moments. Tasks without loss, and those at or below their minimum, have
    weight 0 and rest.

    Differs from torchjd and LibMTL: no absolute 1e-8 added to D (``min_losses=-1e-8`` gives it), and no optimiser of
    yours has to take xi.

    Args:
        lr: Step size of xi.
        weight_decay: Of xi, towards equal z.
        min_losses: Lowest loss of every task; 0 where None.
    """

    needs_losses_after_step: ClassVar[bool] = True
    logits: Tensor
    gaps: Tensor

    def __init__(
        self, lr: float = 0.025, weight_decay: float = 1e-3, min_losses: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        check(self, "lr", lr, "a number >= 0", lr >= 0)
        check(self, "weight_decay", weight_decay, "a number >= 0", weight_decay >= 0)
        self.lr, self.weight_decay = lr, weight_decay
        self.min_losses = None if min_losses is None else list(min_losses)
        adam.prepare(self, "logits")
        self.register_buffer("gaps", torch.zeros(0, dtype=torch.float64))

    def allocate(self, tasks: int) -> None:
        """Makes room for xi."""
        adam.allocate(self, "logits", tasks, 0.0)
        if self.gaps.shape != (tasks,):
            self.gaps = self.gaps.new_zeros(tasks)

    def solve(self, losses: Tensor, active: Tensor) -> Tensor:
        """The weights; remembers the losses until `update`."""
        self.allocate(len(losses))
        gaps = self._above(losses, active)
        self.gaps.copy_(gaps)
        active = (gaps > 0) | gaps.isnan()
        # The smallest divides first: 1 / D overflows for none.
        smallest = torch.where(active, gaps, torch.inf).amin()
        shares = masked_softmax(self.logits, active) * torch.where(active, smallest / gaps, 0.0)
        total = shares.sum()
        return shares / torch.where(total == 0, 1.0, total)

    def update(self, losses: Tensor) -> None:
        """The step of xi, from the losses [T] of the same batch after the optimiser's step."""
        with torch.no_grad():
            losses = losses.double()
            gaps = self._above(losses, losses != 0)
            active = (self.gaps > 0) & (gaps > 0) & torch.isfinite(gaps) & torch.isfinite(self.gaps)
            gain = torch.where(active, self.gaps, 1.0).log() - torch.where(active, gaps, 1.0).log()
            shares = masked_softmax(self.logits, active)
            adam.step(self, "logits", shares * (gain - (shares * gain).sum()), active, self.lr, self.weight_decay)

    def _above(self, losses: Tensor, active: Tensor) -> Tensor:
        """D, 0 for tasks that take no part."""
        return torch.where(active, losses - per_task("FAMO", "min_losses", self.min_losses, losses, 0.0), 0.0)
