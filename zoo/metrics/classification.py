"""Decisions: accuracy and F1."""

from typing import Literal

import torch
from torch import Tensor

from mtlzoo.metrics.base import DoubleMetric
from mtlzoo.metrics.observed import Observed, observed


class Classification(DoubleMetric):
    """Accuracy and F1 of decisions: above one half (binary, multilabel) or the most probable class (multiclass).

    F1 = 2 hits / (predicted + actual). A class that neither occurs nor is predicted has none and is left out of the
    mean over classes (as scikit-learn does by default for multiclass). Multilabel accuracy is the share of observed
    labels that are right, 1 - Hamming loss: the share of rows without any mistake has no meaning where labels are
    missing. A prediction that is NaN is no decision: with one of an observed label, all are NaN.

    Args:
        kind: ``binary``, ``multiclass`` or ``multilabel``.
        classes: Number of classes; 1 if binary.
    """

    higher_is_better = True
    confusion: Tensor

    def __init__(self, kind: Literal["binary", "multiclass", "multilabel"], classes: int = 1) -> None:
        super().__init__()
        self.kind = kind
        self.add_state("confusion", torch.zeros(4, classes, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, labels: Tensor | Observed, weight: Tensor | None = None) -> None:
        """Add rows.

        Args:
            predictions: Probabilities [B] (binary) or [B, classes].
            labels: [B] (0 or 1, or the number of the class) or [B, classes] (multilabel), NaN where not observed.
            weight: Sample weights [B].
        """
        known, mass = observed(labels, weight)
        undecided = predictions.isnan().any(-1) if self.kind == "multiclass" else predictions.isnan()
        mass = torch.where(undecided & (mass > 0), torch.nan, mass)
        if self.kind == "multiclass":
            true, chosen = known.long(), predictions.argmax(-1)
            right = torch.where(true == chosen, mass, 0.0)
            zero = torch.zeros_like(mass)
            counts = self.confusion.index_add(1, true, torch.stack([right, zero, mass, mass]))
            self.confusion = counts.index_add(1, chosen, torch.stack([zero, mass, zero, zero]))
            return
        chosen = mass * (predictions > 0.5)  # NaN where the mass is
        counts = torch.stack([chosen * known, chosen, mass * known, mass])
        self.confusion = self.confusion + counts.sum(1).view(4, -1)

    def compute(self) -> dict[str, Tensor]:
        """``accuracy`` and ``f1`` (binary), ``f1_macro`` (multiclass) or ``f1_micro`` and ``f1_macro`` (multilabel)."""
        # One NaN makes all undefined, also where means leave classes out.
        hit, chosen, true, mass = torch.where(self.confusion.isnan().any(), torch.nan, self.confusion)
        per_class = 2 * hit / (chosen + true)
        if self.kind == "multiclass":
            return {"accuracy": hit.sum() / mass.sum(), "f1_macro": per_class.nanmean()}
        accuracy = 1 - (chosen + true - 2 * hit).sum() / mass.sum()
        if self.kind == "binary":
            return {"accuracy": accuracy, "f1": per_class[0]}
        micro = 2 * hit.sum() / (chosen + true).sum()
        return {"accuracy": accuracy, "f1_micro": micro, "f1_macro": per_class.nanmean()}
