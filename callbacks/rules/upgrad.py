"""UPGrad: every task's gradient, moved so that it opposes no other, then the mean."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.arguments import numbers, per_task
from mtlzoo.callbacks.rules.base import GramianRule
from mtlzoo.callbacks.rules.linalg.qp import above


class UPGrad(GramianRule):
    """Unconflicting projection of gradients (Quinton and Rey, arXiv 2406.16232).

    ``w = sum_i argmin { v'Gv : v >= p_i e_i }``: every gradient ``p_i g_i`` is replaced by the nearest vector that
    opposes no gradient, and they are added. The sum opposes no task: ``<g_t, d> >= 0``.

    Degree 0 and without state. Tasks without gradient are left out; the others keep their preference (1/T of all T
    tasks by default). Opposite gradients cancel. The vector is unique; where gradients are dependent, the weights are
    one choice of several.

    Differs from torchjd and LibMTL: no ridge on the Gramian (theirs is 1e-4 of the trace and moves the result by 1e-4
    to 1e-3, by 11 % where norms range from 1e-6 to 1e6) and no absolute threshold, below which theirs is the mean.

    Args:
        preference: How much each task's gradient counts; 1/T each where None.
    """

    def __init__(self, preference: Sequence[float] | None = None) -> None:
        super().__init__()
        self.preference = numbers("UPGrad", "preference", preference)

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """The weights; see the class."""
        preference = per_task("UPGrad", "preference", self.preference, gramian, 1.0 / gramian.shape[-1])
        return above(gramian, active, torch.diag(preference).expand_as(gramian)).sum(-2)
