"""DualProj: the mean gradient, moved so that it opposes no task."""

from collections.abc import Sequence

from torch import Tensor

from mtlzoo.callbacks.rules.arguments import numbers, per_task
from mtlzoo.callbacks.rules.base import GramianRule
from mtlzoo.callbacks.rules.linalg.qp import above


class DualProj(GramianRule):
    """Projection on the dual cone, from gradient episodic memory (Lopez-Paz and Ranzato, NeurIPS 2017).

    ``w = argmin { v'Gv : v >= p }``: the vector nearest to ``sum_t p_t g_t`` that opposes no gradient.

    Degree 0 and without state. Tasks without gradient are left out; the others keep their preference. Where the mean
    opposes nobody, it is the mean. The vector is unique; where gradients are dependent, the weights are one choice of
    several.

    Differs from torchjd: no ridge on the Gramian and no absolute threshold, below which torchjd's is the mean.

    Args:
        preference: Weights of the combination that is projected; 1/T each where None.
    """

    def __init__(self, preference: Sequence[float] | None = None) -> None:
        super().__init__()
        self.preference = numbers("DualProj", "preference", preference)

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """The weights; see the class."""
        preference = per_task("DualProj", "preference", self.preference, gramian, 1.0 / gramian.shape[-1])
        return above(gramian, active, preference.expand(gramian.shape[:-1])[..., None, :]).squeeze(-2)
