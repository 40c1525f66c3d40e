"""Logarithmic loss: the mean of what a task's training loss is per row."""

import torch
from torch import Tensor

from mtlzoo.metrics.base import DoubleMetric
from mtlzoo.tasks import Task


class LogLoss(DoubleMetric):
    """Mean negative log-likelihood of the observed rows, weighted by the sample weights.

    The loss of a row is `Task.row_losses`, so the metric is the training loss without task weights: logistic (binary),
    softmax cross-entropy (multiclass) or the mean logistic loss over the observed classes (multilabel). It takes
    logits, not probabilities, which round to 0 and 1.

    Args:
        task: A task of one of those three kinds.
    """

    higher_is_better = False
    logloss_sums: Tensor

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        self.add_state("logloss_sums", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor, weight: Tensor | None = None) -> None:
        """Add rows: logits [B] or [B, classes], labels [B, label_width] with NaN where not observed, weight [B]."""
        losses, seen = self.task.row_losses(logits, labels.view(-1, self.task.label_width))
        mass = seen.double() if weight is None else seen * weight.double()
        total = torch.where(mass > 0, losses.double() * mass, 0.0).sum()
        self.logloss_sums = self.logloss_sums + torch.stack([total, mass.sum()])

    def compute(self) -> dict[str, Tensor]:
        """``logloss``; NaN without an observed row."""
        return {"logloss": self.logloss_sums[0] / self.logloss_sums[1]}
