"""What a training's losses came to since they were last logged, without a wait for the device at every step."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mtlzoo.callbacks import collectives

SKIPPED = 40
"""Steps in a row without a finite loss that a gradient scaler may take; at each it halves its scale, 2^16 at first."""


class TrainLosses:
    """Sums of the tasks' losses over steps, on the device: what was not finite once stays visible in them.

    Args:
        names: Of the tasks.
        remedy: What to do where a loss is not finite.
    """

    def __init__(self, names: list[str], remedy: str) -> None:
        self.names = names
        self.remedy = remedy
        self.steps = 0
        """Steps since the last `clear`."""
        self._sums: Tensor | None = None
        self._skipped: Tensor | None = None

    def add(self, losses: Tensor, *, scaled: bool) -> None:
        """Adds the losses of a step, [T].

        Args:
            losses: Weighted losses of this process.
            scaled: Whether a gradient scaler skips steps that overflow; then those don't count.
        """
        row = nn.functional.pad(losses, (0, 1), value=1.0)
        if scaled:
            finite = losses.isfinite().all()
            row = torch.where(finite, row, 0.0)
            self._skipped = torch.where(finite, 0, 1 if self._skipped is None else self._skipped + 1)
        self._sums = row if self._sums is None else self._sums + row
        self.steps += 1

    def means(self, step: int) -> dict[str, float]:
        """Means over the steps and over all processes, which ask together; NaN where a scaler skipped every step.

        Raises:
            FloatingPointError: A loss was not finite.
        """
        if self._sums is None:
            return {}
        skipped = self._sums.new_zeros(1) if self._skipped is None else self._skipped.to(self._sums).view(1)
        *sums, steps, skips = collectives.mean(torch.cat([self._sums, skipped])).tolist()
        wrong = [name for name, value in zip(self.names, sums, strict=True) if not math.isfinite(value)]
        if wrong or skips > SKIPPED:
            raise FloatingPointError(
                f"The loss of {wrong or self.names} is not finite at step {step}, or was not at one of the "
                f"{self.steps - 1} before it. {self.remedy}"
            )
        return {name: value / steps if steps else math.nan for name, value in zip(self.names, sums, strict=True)}

    def clear(self) -> None:
        """Begins anew."""
        self._sums, self.steps = None, 0

    # ---- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """The sums of every process, on the CPU; all processes ask together."""
        if self._sums is None:
            return {"steps": self.steps, "sums": []}
        every = [self._sums] if collectives.world_size() == 1 else collectives.gather([self._sums])[0]
        return {"steps": self.steps, "sums": [sums.cpu() for sums in every]}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device, rank: int) -> None:
        """Goes on from `state`: every process from its own sums, or from their mean where there were more or fewer."""
        sums, self.steps = state["sums"], state["steps"]
        same = len(sums) == collectives.world_size()
        self._sums = (sums[rank] if same else torch.stack(sums).mean(0)).to(device) if sums else None


def check_weights(module: nn.Module, step: int, remedy: str) -> None:
    """Refuses weights that are not finite, in one pass over them and with one wait for the device.

    Raises:
        FloatingPointError: Some are not, with the first's name.
    """
    named = [(name, weight.detach()) for name, weight in module.named_parameters() if weight.numel()]
    ends = [torch.stack(weight.aminmax()).isfinite().all() for _, weight in named]
    if ends and not (finite := torch.stack(ends)).all():
        wrong = [name for (name, _), good in zip(named, finite.tolist(), strict=True) if not good]
        raise FloatingPointError(
            f"{len(wrong)} of {len(named)} weights are not finite after step {step}, {wrong[0]} among them. {remedy}"
        )
