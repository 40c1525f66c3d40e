"""GradDrop: every element follows one sign, drawn by how much the tasks agree on it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check
from mtlzoo.callbacks.rules.base import GradientRule
from mtlzoo.callbacks.rules.draws import Draws
from mtlzoo.callbacks.to_device import sent


class GradDrop(GradientRule):
    """Gradient sign dropout (Chen et al., NeurIPS 2020), on the gradients of parameters.

    For every element, ``P = (1 + sum_t g_t / sum_t |g_t|) / 2`` and a uniform U: where ``P > U`` the positive parts
    are kept, else the negative ones; what is dropped comes through in the share `leak`. Scale-free: a common factor
    changes nothing. Its state is the number of draws, so that a resumed run goes on the same way and every process
    drops the same. Where all tasks are 0, so is the result. Elements are drawn on the CPU, to be equal on every device.

    The paper drops the gradients of activations (LibMTL's feature form); torchjd's is this one. Differs from torchjd:
    0/0 in elements that no task touches is not NaN, and it has its own random numbers.

    Args:
        leak: One share for all tasks, or one per task, each in [0, 1].
        seed: Chooses the sequence.
    """

    def __init__(self, leak: float | Sequence[float] = 0.0, seed: int = 0) -> None:
        super().__init__()
        shares = [leak] if isinstance(leak, int | float) else list(leak)
        check(self, "leak", leak, "numbers in [0, 1]", bool(shares) and all(0 <= share <= 1 for share in shares))
        self.leak = leak
        self.draws = Draws(seed)

    def solve(self, gradients: Tensor, *, losses: Tensor | None) -> Tensor:
        """The gradient; see the class."""
        generator = self.draws.generator()
        dtype = torch.float64 if gradients.dtype == torch.float64 else torch.float32
        uniform = sent(torch.rand(gradients.shape[1:], generator=generator, dtype=dtype), gradients.device)
        leak = [self.leak] * len(gradients) if isinstance(self.leak, int | float) else list(self.leak)
        if len(leak) != len(gradients):
            raise ValueError(f"GradDrop: {len(leak)} numbers in leak for {len(gradients)} tasks; give one each.")
        shares = sent(torch.tensor(leak, dtype=gradients.dtype), gradients.device)
        return drop(gradients, uniform, shares)

    def get_extra_state(self) -> dict[str, Any]:
        """The number of draws."""
        return self.draws.state()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Goes on from there."""
        self.draws.restore(state)


def drop(gradients: Tensor, uniform: Tensor, leak: Tensor) -> Tensor:
    """The rule for given uniform numbers.

    Args:
        gradients: [T, ...].
        uniform: [...].
        leak: [T].

    Returns:
        [...].
    """
    size = gradients.abs().sum(0)
    purity = 0.5 * (1.0 + gradients.sum(0) / torch.where(size == 0, 1.0, size))
    kept = torch.where(gradients > 0, purity > uniform, purity < uniform)
    leak = leak.reshape(-1, *[1] * (gradients.dim() - 1))
    return (gradients * torch.where(kept, 1.0, leak)).sum(0)
