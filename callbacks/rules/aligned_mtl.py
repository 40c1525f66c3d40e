"""`AlignedMTL`: gradients of equal length at right angles, the nearest to those there are."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check, numbers, per_task
from mtlzoo.callbacks.rules.base import GramianRule
from mtlzoo.callbacks.rules.linalg.eigen import eigh
from mtlzoo.callbacks.rules.linalg.rounding import tolerance


class AlignedMTL(GramianRule):
    """Aligned-MTL (Senushkin et al., "Independent Component Alignment for Multi-Task Learning", CVPR 2023).

    With ``G = V diag(l) V^T``, of which the r eigenvalues above rounding are kept:
    ``w = sqrt(s) V diag(l^-1/2) V^T p``, p the preference (1/T). All kept singular values of the gradients become
    sqrt(s).

    Needs the Gramian, keeps no state. Multiplying all gradients by c changes no weight. Scales of single tasks do
    matter: `scale` ``min`` shortens everything to the smallest kept singular value. A float64 Gramian resolves
    singular values down to some 1e-6 of the largest; what is below counts as a linear dependence (256 T eps of the
    largest eigenvalue; torchjd: T eps, which is within the rounding of a sum over many parameters). Duplicates share
    equally. Tasks without gradient get 0, and the preference of the others stays as it is.

    As torchjd; LibMTL's weights are T times these, and its code needs a torch before 2.0.

    Args:
        scale: s, over the kept eigenvalues: the smallest, the lower median, or the mean (``rmse``: its root is the
            root mean square of the singular values).
        preference: p; None: 1/T each.

    Raises:
        ValueError: An unknown scale; a preference that is negative or all zero; in the call, one that has not one
            number per task.
    """

    def __init__(
        self, scale: Literal["min", "median", "rmse"] = "min", preference: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        check(self, "scale", scale, "min, median, rmse", scale in ("min", "median", "rmse"))
        self.scale = scale
        self.preference = numbers("AlignedMTL", "preference", preference)
        check(self, "preference", preference, "not only zeros", self.preference is None or any(self.preference))

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """Scales the eigenvectors."""
        tasks = gramian.shape[-1]
        eigenvalues, vectors = eigh(gramian)
        keep = eigenvalues > tolerance(tasks) * eigenvalues[..., -1:]
        preference = active.double() * per_task("AlignedMTL", "preference", self.preference, gramian, 1 / tasks)
        along = (vectors * preference[..., :, None]).sum(-2)
        kept = torch.where(keep, eigenvalues, 1.0)
        along = torch.where(keep, along / kept.sqrt(), 0.0) * self._scale(kept, keep).sqrt()
        return torch.where(
            eigenvalues.isnan().any(-1, keepdim=True), torch.nan, (vectors * along[..., None, :]).sum(-1)
        )

    def _scale(self, eigenvalues: Tensor, keep: Tensor) -> Tensor:
        """s, [..., 1]; they ascend, so those that are kept are the last ones."""
        tasks, rank = keep.shape[-1], keep.sum(-1, keepdim=True)
        if self.scale == "rmse":
            return torch.where(keep, eigenvalues, 0.0).sum(-1, keepdim=True) / rank.clamp_min(1)
        place = tasks - rank
        if self.scale == "median":
            place = place + (rank - 1) // 2
        return eigenvalues.gather(-1, place.clamp(0, tasks - 1))
