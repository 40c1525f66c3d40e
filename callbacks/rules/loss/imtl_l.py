"""IMTL-L: learned scales that make all scaled losses equal."""

from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check
from mtlzoo.callbacks.rules.base import LossRule
from mtlzoo.callbacks.rules.loss import adam


class IMTLL(LossRule):
    """The loss balance of impartial multi-task learning (Liu et al., ICLR 2021): ``sum_t exp(s_t) L_t - s_t``.

    The weight is ``exp(s_t)``; s is learned with Adam by the same value, whose optimum is ``exp(s_t) L_t = 1``. Its
    state is s with Adam's moments. A task without loss has weight 0 and rests. Losses far from 1 take
    ``|log L_t| / lr`` steps until they are balanced. Together with the paper's gradient balance this is LibMTL's IMTL.

    Differs from torchjd in that no optimiser of yours has to take the parameters.

    Args:
        lr: Step size of s.
        initial: First s of all tasks.
    """

    log_scales: Tensor

    def __init__(self, lr: float = 1e-3, initial: float = 0.0) -> None:
        super().__init__()
        check(self, "lr", lr, "a number >= 0", lr >= 0)
        check(self, "initial", initial, "a number between -500 and 500", abs(initial) <= 500)
        self.lr, self.initial = lr, initial
        adam.prepare(self, "log_scales")

    def allocate(self, tasks: int) -> None:
        """Makes room for s."""
        adam.allocate(self, "log_scales", tasks, self.initial)

    def solve(self, losses: Tensor, active: Tensor) -> Tensor:
        """The weights, then a step of s."""
        self.allocate(len(losses))
        weights = self.log_scales.exp() * active
        adam.step(self, "log_scales", self.slopes(losses), active, self.lr)
        return weights

    def slopes(self, losses: Tensor) -> Tensor:
        """Derivatives of the value by s."""
        return self.log_scales.exp() * losses - 1.0
