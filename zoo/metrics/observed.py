"""Which labels count, and how much: the rule that all metrics share."""

from typing import NamedTuple

from torch import Tensor


class Observed(NamedTuple):
    """Labels without gaps. Every metric takes it in place of labels and weight, so that several share the work.

    Args:
        labels: Float64, 0 where not observed.
        mass: Float64 of the same shape: the weight of the row where the label is observed, else 0.
    """

    labels: Tensor
    mass: Tensor


def observed(labels: Tensor | Observed, weight: Tensor | None) -> Observed:
    """Labels and what each counts.

    Args:
        labels: Float [B] or [B, W], NaN where not observed; an `Observed` is returned as it is.
        weight: Sample weights [B], at least 0; None counts every row once.
    """
    if isinstance(labels, Observed):
        return labels
    mass = (labels == labels).double()  # false for NaN
    if weight is not None:
        mass *= weight.view(-1, *[1] * (labels.dim() - 1))
    return Observed(labels.double().nan_to_num(0.0), mass)
