"""RLW: random weights."""

from typing import Any

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.base import LossRule
from mtlzoo.callbacks.rules.draws import Draws
from mtlzoo.callbacks.rules.linalg.simplex import masked_softmax
from mtlzoo.callbacks.to_device import sent


class RLW(LossRule):
    """Random loss weighting (Lin et al., TMLR 2022): ``softmax`` of T normal numbers, new in every step.

    A hard baseline for rules that claim to balance. Its state is the number of draws, so that a resumed run goes on
    with the same weights, and every process has the same ones. Tasks without loss are left out of the softmax.

    Differs from torchjd and LibMTL in its own random numbers, which no other use of torch's generator shifts.

    Args:
        seed: Chooses the sequence.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.draws = Draws(seed)

    def solve(self, losses: Tensor, active: Tensor) -> Tensor:
        """The weights; see the class."""
        logits = sent(torch.randn(len(losses), generator=self.draws.generator(), dtype=losses.dtype), losses.device)
        return masked_softmax(logits, active)

    def get_extra_state(self) -> dict[str, Any]:
        """The number of draws."""
        return self.draws.state()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Goes on from there."""
        self.draws.restore(state)
