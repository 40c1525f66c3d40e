"""Errors of predicted numbers."""

import torch
from torch import Tensor

from mtlzoo.metrics.base import DoubleMetric
from mtlzoo.metrics.observed import Observed, observed


class RegressionError(DoubleMetric):
    """Root mean squared error and mean absolute error, in the label's units."""

    higher_is_better = False
    error_sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("error_sums", torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, labels: Tensor | Observed, weight: Tensor | None = None) -> None:
        """Add rows: predictions [B], labels [B] with NaN where not observed, weight [B]."""
        known, mass = observed(labels, weight)
        error = torch.where(mass > 0, predictions.double() - known, 0.0)
        self.error_sums = self.error_sums + torch.stack([mass * error.square(), mass * error.abs(), mass]).sum(1)

    def compute(self) -> dict[str, Tensor]:
        """``rmse`` and ``mae``; NaN without an observed row."""
        squared, absolute, mass = self.error_sums
        return {"rmse": (squared / mass).sqrt(), "mae": absolute / mass}
