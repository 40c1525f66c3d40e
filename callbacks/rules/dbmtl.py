"""`DBMTL`: gradients of the logarithms of the losses, all as long as the longest."""

from typing import ClassVar

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.base import GramianRule
from mtlzoo.callbacks.rules.linalg.cosines import norms_of


class DBMTL(GramianRule):
    """Dual-Balancing MTL without its average (Lin et al., "Dual-Balancing for Multi-Task Learning", arXiv 2308.12029).

    The gradient of ``log L_t`` is ``g_t / L_t``; the result is ``sum_t m g_t / |g_t|`` with
    ``m = max_s |g_s| / L_s``, so ``w_t = m / |g_t|``. This is the paper's rule with beta = 0; its moving average is of
    the gradients themselves (T times their size), which no Gramian has.

    Needs the squared norms and the losses, keeps no state. Multiplying all gradients by c changes no weight, and the
    scale of a single task only changes the length of the result. Tasks without gradient take no part, nor do tasks
    with a loss of exactly 0 (nobody observed them). A negative loss has no logarithm: its group's weights are NaN.

    LibMTL adds 1e-8 to losses and norms, and begins its average at 0, so its first results are 1 - beta of these.
    torchjd doesn't have it.
    """

    needs_losses: ClassVar[bool] = True

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """The longest, divided by each."""
        assert losses is not None  # `forward` sees to it
        taking_part = active & (losses != 0)
        norms, losses = norms_of(gramian, active), losses.double()
        losses = torch.where(losses < 0, torch.nan, torch.where(losses == 0, 1.0, losses))
        longest = torch.where(taking_part, norms / losses, 0.0).amax(-1, keepdim=True)
        return torch.where(taking_part, longest / norms, 0.0)
