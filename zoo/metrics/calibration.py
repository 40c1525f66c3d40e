"""Calibration: whether a predicted 3 % happens 3 % of the time."""

import torch
from torch import Tensor

from mtlzoo.metrics.base import DoubleMetric
from mtlzoo.metrics.observed import Observed, observed

BINS = 100


class Calibration(DoubleMetric):
    """Predicted over observed positives, and the expected calibration error, of predicted probabilities.

    ``calibration`` = sum of predictions / sum of labels: 1 is right, above 1 promises too much. ``ece`` is the mean
    distance between the mean prediction and the positive rate of a bin, weighted by the rows in it, over 100 bins of
    equal width on [0, 1] (Guo et al., ICML 2017, for the probability of the positive class). Most rows of a task with
    1 % positives share the first few bins, where ``ece`` comes close to the absolute difference of the two rates.
    """

    bins: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("bins", torch.zeros(3, BINS, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, labels: Tensor | Observed, weight: Tensor | None = None) -> None:
        """Add rows: probabilities [B], labels [B] in {0, 1, NaN}, weight [B]."""
        known, mass = observed(labels, weight)
        predicted = torch.where(mass > 0, predictions.double(), 0.0)
        index = (predicted * BINS).nan_to_num(0.0).long().clamp(0, BINS - 1)
        self.bins = self.bins.index_add(1, index, torch.stack([mass, mass * predicted, mass * known]))

    def compute(self) -> dict[str, Tensor]:
        """``calibration``, NaN without a positive label, and ``ece``, NaN without an observed row."""
        mass, predicted, positive = self.bins
        ratio = predicted.sum() / torch.where(positive.sum() > 0, positive.sum(), torch.nan)
        return {"calibration": ratio, "ece": (predicted - positive).abs().sum() / mass.sum()}
