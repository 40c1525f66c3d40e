"""Nash-MTL: the bargaining solution between the tasks."""

from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check
from mtlzoo.callbacks.rules.base import GramianRule
from mtlzoo.callbacks.rules.linalg.newton import fair_weights


class NashMTL(GramianRule):
    """Multi-task learning as a bargaining game (Navon et al., ICML 2022): ``w > 0`` with ``(G w)_t = 1 / w_t``.

    Every task's first-order gain is the inverse of its weight, so that no task's scale matters: ``w_t |g_t|`` depends
    on the angles only. The vector's norm is the square root of the number of active tasks, whatever the gradients'
    (``w'Gw = T``): the rule has degree -1/2, and `max_norm`, absolute in the paper, is a constant factor in effect.

    Without state. Tasks without gradient are left out. Where tasks are Pareto stationary (opposite gradients), no w
    exists; the vector then goes to 0, by the ridge of `mtlzoo.callbacks.rules.linalg.newton.fair_weights`.

    Differs from torchjd and LibMTL: solved in every step by Newton's method, to rounding. Theirs (20 rounds of a convex
    programme, absolute tolerances) ends at ``w = 1`` without a word where it fails: dependent gradients, a gradient
    that is 0, more tasks than dimensions, norms 1000 apart. Solving only every n-th step is the callback's matter.

    Args:
        max_norm: Largest norm of the combination (longer ones are shortened to it), 0 for no limit. The combination
            of T tasks has the norm sqrt(T) without.
    """

    degree = -0.5

    def __init__(self, max_norm: float = 1.0) -> None:
        super().__init__()
        check(self, "max_norm", max_norm, "0 (no limit) or more", 0.0 <= max_norm <= float("inf"))
        self.max_norm = max_norm

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """The weights; see the class."""
        weights = fair_weights(gramian, active, 1.0).where(active, 0.0)
        if not self.max_norm:
            return weights
        squared = (weights * (gramian @ weights[..., None]).squeeze(-1)).sum(-1, keepdim=True)
        # The exact square is the number of active tasks; a little more by rounding must not shrink the weights.
        return weights * (self.max_norm / squared.clamp(min=self.max_norm**2).sqrt())
