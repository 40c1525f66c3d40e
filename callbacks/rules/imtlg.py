"""`IMTLG`: the gradient that has the same projection on all tasks."""

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.base import GramianRule
from mtlzoo.callbacks.rules.linalg.cosines import cosines_of, norms_of
from mtlzoo.callbacks.rules.linalg.eigen import solve_psd
from mtlzoo.callbacks.rules.linalg.rounding import tolerance


class IMTLG(GramianRule):
    """IMTL-G (Liu et al., "Towards Impartial Multi-task Learning", ICLR 2021).

    ``<J^T w, g_t / |g_t|>`` is the same for all t and ``sum_t w_t = 1``: with n the norms and C the cosines,
    ``w ~ x / n, C x = 1``.

    Needs the Gramian, keeps no state. Multiplying all gradients by c changes no weight; multiplying one task's
    gradient divides its share, and leaves the line along which the result lies. Weights may be negative, and grow
    without bound as their sum before normalising nears 0, where the result turns round: that is the paper's rule.
    Tasks without gradient take no part. Where C is singular, x is its pseudo-inverse times 1: duplicates share equally
    (by unit gradients), more tasks than dimensions have the projections nearest to equal in the sense of least
    squares, and no common direction at all (gradients that cancel as unit vectors) gives 0.

    torchjd takes the pseudo-inverse of the Gramian itself: the same where that is regular, but tasks with norms
    1e-8 of the largest fall out, and for parallel gradients, too many tasks and the like it weighs tasks by
    their norms. LibMTL inverts, so duplicates raise and a zero gradient gives NaN.
    """

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """Solves for the cosines, then divides by the norms."""
        weights = solve_psd(cosines_of(gramian, active), active.double()) / norms_of(gramian, active)
        total = weights.sum(-1, keepdim=True)
        known = total.abs() > tolerance(gramian.shape[-1]) * weights.abs().sum(-1, keepdim=True)
        return torch.where(known | total.isnan(), weights / torch.where(known, total, 1.0), 0.0)
