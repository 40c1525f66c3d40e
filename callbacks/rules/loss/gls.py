"""GLS: the geometric mean of the losses."""

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.base import LossRule


class GLS(LossRule):
    """Geometric loss strategy (Chennupati et al., CVPR workshops 2019): ``(L_1 ... L_T)^(1/T)``.

    The weight is ``value / (T L_t)``: no task's scale matters beside the others'. Without state. The mean is over the
    tasks with a positive loss; losses of 0 (one of them would make every weight 0) and below have no logarithm and take
    no part.

    torchjd's GeometricMean and LibMTL's GLS are the same for positive losses.
    """

    def solve(self, losses: Tensor, active: Tensor) -> Tensor:
        """The weights; see the class."""
        active = active & ~(losses < 0)
        logarithms = torch.where(active, losses, 1.0).log()
        count = active.sum().clamp(min=1)
        return torch.where(active, (logarithms.sum() / count - logarithms).exp() / count, 0.0)
