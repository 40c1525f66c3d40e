"""UW: weights from a learned noise level of every task."""

from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check
from mtlzoo.callbacks.rules.base import LossRule
from mtlzoo.callbacks.rules.loss import adam


class UW(LossRule):
    """Uncertainty weighting (Kendall, Gal and Cipolla, CVPR 2018): ``sum_t (exp(-s_t) L_t + s_t) / 2``.

    The weight is ``exp(-s_t) / 2``; s, the logarithm of the task's noise variance, is learned with Adam by the same
    value, whose optimum is ``exp(s_t) = L_t``. Its state is s with Adam's moments. A task without loss has weight 0
    and rests. Adam's steps have the size of `lr` whatever the losses, so losses far from 1 take
    ``|log L_t| / lr`` steps until they are balanced.

    Differs from torchjd and LibMTL (starts at -0.5) in that no optimiser of yours has to take the parameters.

    Args:
        lr: Step size of s.
        initial: First s of all tasks.
    """

    log_variances: Tensor

    def __init__(self, lr: float = 1e-3, initial: float = 0.0) -> None:
        super().__init__()
        check(self, "lr", lr, "a number >= 0", lr >= 0)
        check(self, "initial", initial, "a number between -500 and 500", abs(initial) <= 500)
        self.lr, self.initial = lr, initial
        adam.prepare(self, "log_variances")

    def allocate(self, tasks: int) -> None:
        """Makes room for s."""
        adam.allocate(self, "log_variances", tasks, self.initial)

    def solve(self, losses: Tensor, active: Tensor) -> Tensor:
        """The weights, then a step of s."""
        self.allocate(len(losses))
        weights = 0.5 * (-self.log_variances).exp() * active
        adam.step(self, "log_variances", self.slopes(losses), active, self.lr)
        return weights

    def slopes(self, losses: Tensor) -> Tensor:
        """Derivatives of the value by s."""
        return 0.5 - 0.5 * (-self.log_variances).exp() * losses
