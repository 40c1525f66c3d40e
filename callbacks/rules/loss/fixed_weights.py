"""FixedWeights: the same weights in every step."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check, per_task
from mtlzoo.callbacks.rules.base import LossRule


class FixedWeights(LossRule):
    """``sum_t w_t L_t`` with given weights. Without state; torchjd's Constant.

    Weighs what single tasks own as well, their heads; `Fixed` weighs the gradients of what they share alone.

    Args:
        weights: One per task, of any sign.

    Raises:
        ValueError: No weight, or one that is not finite.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        self.weights = [float(weight) for weight in weights]
        finite = bool(self.weights) and all(map(math.isfinite, self.weights))
        check(self, "weights", self.weights, "one finite number per task", finite)

    def solve(self, losses: Tensor, active: Tensor) -> Tensor:
        """The weights."""
        return torch.where(active, per_task("FixedWeights", "weights", self.weights, losses, 1.0), 0.0)
