"""MGDA: the shortest convex combination of the gradients."""

from typing import Literal, get_args

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.base import GramianRule
from mtlzoo.callbacks.rules.linalg.cosines import unit
from mtlzoo.callbacks.rules.linalg.qp import min_norm

Normalise = Literal["none", "l2", "loss", "loss+"]


class MGDA(GramianRule):
    """Multiple-gradient descent (Désidéri 2012; Sener and Koltun, NeurIPS 2018): the shortest convex combination.

    ``w = argmin |sum_t w_t g_t / c_t|^2`` over the simplex, with ``c_t`` = 1 ("none"), ``|g_t|`` ("l2"), the loss
    ("loss") or their product ("loss+"). The weights are those of the **raw** gradients, ``sum_t w_t g_t``, as in Sener
    and Koltun's code: normalising decides who counts how much, not how long the step is. With "none", every task's loss
    falls at first order or all stand still: ``<g_t, d> >= |d|^2``.

    Degree 0 and without state. Tasks without gradient are left out (in the others' rule they make every update zero);
    so are, with "loss" and "loss+", those with a loss of 0 or below. Opposite gradients give the zero vector, as the
    rule says. The combination is unique; where gradients are dependent, the weights are one choice of several.

    Differs from torchjd (Frank-Wolfe of 100 steps, 0.1-3 % off, no normalisation) and LibMTL (pairwise line searches
    that keep 0.001 of every task; outside its rep_grad mode it combines the **normalised** gradients, which is this
    rule's vector with the weights ``w_t / c_t``) by being exact.

    Args:
        normalise: What the gradients are divided by before the weights are found.
    """

    def __init__(self, normalise: Normalise = "none") -> None:
        super().__init__()
        if normalise not in get_args(Normalise):
            raise ValueError(f"MGDA: normalise is one of {', '.join(get_args(Normalise))}, not {normalise!r}.")
        self.normalise = normalise
        self.needs_losses = normalise.startswith("loss")  # type: ignore[misc]  # a ClassVar for all other rules

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """The weights; see the class."""
        _, norms = unit(gramian, active)
        if self.normalise in ("l2", "loss+"):
            norms = torch.ones_like(norms)
        if losses is not None and self.normalise != "none" and self.normalise != "l2":
            losses = losses.double()
            active = active & (losses > 0)
            norms = norms / torch.where(losses > 0, losses, 1.0)
        return min_norm(gramian, active, norms)
