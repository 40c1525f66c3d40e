"""`Sum`, `Mean`, `Fixed`: weights that look at nothing."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check, per_task
from mtlzoo.callbacks.rules.base import GramianRule


class Sum(GramianRule):
    """``w_t = 1``: equal weighting, what training on the sum of the losses does.

    Needs nothing, keeps no state. A task without gradient gets 0, which changes no gradient. `Equal` is this for
    `LossBalancing`. As torchjd's `Sum` and LibMTL's `EW` (whose documentation says 1/T).
    """

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """Ones."""
        return torch.ones_like(gramian[..., 0])


class Mean(GramianRule):
    """``w_t = 1/T``, T being all tasks, those without gradient too.

    Needs nothing, keeps no state. A task without gradient gets 0, which changes no gradient. As torchjd's `Mean`.
    """

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """1/T each."""
        return torch.full_like(gramian[..., 0], 1 / gramian.shape[-1])


class Fixed(GramianRule):
    """``w_t`` as given.

    Needs nothing, keeps no state. A task without gradient gets 0, which changes no gradient. `FixedWeights` weighs
    losses, and so the parameters of single tasks as well, whose gradients this leaves alone. As torchjd's `Constant`.

    Args:
        weights: One per task, in their order; of any sign.

    Raises:
        ValueError: No weight, or one that is not finite.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        self.weights = [float(weight) for weight in weights]
        finite = bool(self.weights) and all(map(math.isfinite, self.weights))
        check(self, "weights", self.weights, "one finite number per task", finite)

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """The weights; raises where they are not one per task."""
        return per_task("Fixed", "weights", self.weights, gramian, 1.0).expand(gramian.shape[:-1])
