"""Random numbers that resume, and are the same on every process."""

from typing import Any

import torch


class Draws:
    """Counts the draws, and seeds each from its number: all that must be kept is one integer.

    Args:
        seed: Chooses the sequence.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.count = 0

    def generator(self) -> torch.Generator:
        """The generator (on the CPU, so equal on every device) of the next draw."""
        self.count += 1
        # Generators that are seeded with neighbouring numbers start alike in some engines: spread the bits.
        mixed = (self.seed * 0x9E3779B97F4A7C15 + self.count * 0xBF58476D1CE4E5B9) % 2**63
        return torch.Generator().manual_seed(mixed)

    def state(self) -> dict[str, Any]:
        """For `torch.nn.Module.get_extra_state`."""
        return {"seed": self.seed, "count": self.count}

    def restore(self, state: dict[str, Any]) -> None:
        """For `torch.nn.Module.set_extra_state`."""
        self.seed, self.count = state["seed"], state["count"]
