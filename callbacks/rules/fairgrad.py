"""FairGrad: alpha-fair allocation of the gain among the tasks."""

from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check
from mtlzoo.callbacks.rules.base import GramianRule
from mtlzoo.callbacks.rules.linalg.newton import fair_weights


class FairGrad(GramianRule):
    """Fair resource allocation (Ban and Ji, ICML 2024): ``w > 0`` with ``(G w)_t = w_t^(-1/alpha)``.

    alpha = 1 is Nash-MTL without limit, alpha towards 0 the sum of the gradients, a large alpha max-min fairness.

    Degree ``-alpha / (1 + alpha)``: the update of gradients c times as large is ``c^((1 - alpha) / (1 + alpha))`` times
    as large. Without state. Tasks without gradient are left out. Where tasks are Pareto stationary (opposite
    gradients), no w exists; the vector then goes to 0, by the ridge of
    `mtlzoo.callbacks.rules.linalg.newton.fair_weights`.

    Differs from torchjd and LibMTL (a general least-squares solver from 1/T, started anew for each Gramian, off by
    orders of magnitude where norms are far apart) by Newton's method on the convex problem behind the equation, to
    rounding. alpha = 0, in torchjd the mean, is refused: the limit is the sum.

    Args:
        alpha: Kind of fairness.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        check(self, "alpha", alpha, "between 0.05 and 20", 0.05 <= alpha <= 20.0)
        self.alpha = alpha
        self.degree = -alpha / (1.0 + alpha)

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """The weights; see the class."""
        return fair_weights(gramian, active, 1.0 / self.alpha)
