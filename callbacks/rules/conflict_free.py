"""`ConFIG`: the direction that has the same cosine with all tasks, as long as their projections on it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check, numbers, per_task
from mtlzoo.callbacks.rules.base import GramianRule
from mtlzoo.callbacks.rules.linalg.cosines import cosines_of, norms_of
from mtlzoo.callbacks.rules.linalg.eigen import solve_psd


class ConFIG(GramianRule):
    """Conflict-free inverse gradients (Liu et al., "ConFIG", ICLR 2025).

    With U the unit gradients, the direction is ``v = pinv(U) p`` (p = 1: equal cosines), and the result
    ``(sum_t <g_t, v / |v|>) v / |v|``. In weights, with n the norms and C = U U^T the cosines:
    ``x = pinv(C) p``, ``w = (n . C x) / (x . C x) x / n``.

    Needs the Gramian, keeps no state. Multiplying all gradients by c changes no weight; multiplying one task's
    gradient changes the length of the result, not its direction. Tasks without gradient take no part. Duplicates share
    their part of the direction; gradients without a common direction (their unit vectors cancel) give 0.

    As torchjd's `ConFIG`, which needs the gradients themselves; LibMTL has none.

    Args:
        preference: Cosines of the direction and the tasks, up to a factor; None: equal.

    Raises:
        ValueError: A preference that is negative or all zero; in the call, one that has not one number per task.
    """

    def __init__(self, preference: Sequence[float] | None = None) -> None:
        super().__init__()
        self.preference = numbers("ConFIG", "preference", preference)
        check(self, "preference", preference, "not only zeros", self.preference is None or any(self.preference))

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """Solves for the cosines, then gives the direction its length."""
        cosines, norms = cosines_of(gramian, active), norms_of(gramian, active)
        preference = active.double() * per_task("ConFIG", "preference", self.preference, gramian, 1.0)
        x = solve_psd(cosines, preference)
        along = (cosines * x[..., None, :]).sum(-1)
        square = (x * along).sum(-1, keepdim=True)
        known = square > 0
        length = torch.where(active, norms * along, 0.0).sum(-1, keepdim=True) / torch.where(known, square, 1.0)
        return torch.where(known | square.isnan(), length * x / norms, 0.0)
