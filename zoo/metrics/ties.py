"""When two scores are the same: rows with equal features get logits that differ in their last bits.

A matrix product takes another kernel for another number of rows, so what a network makes of a row depends on the batch
around it by some units in the last place. Unless such scores count as ties, an AUC over many equal rows (unknown ids)
depends on the size of the batches.
"""

import torch
from torch import Tensor

RESOLUTION = 2.0**-18
"""Logits that are no further apart than this share of their size, or of 1 if they are smaller, are equal (4e-6)."""
WIDTH = 64
"""Chains of scores that are equal one by one end after so many times that distance: among many rows all are linked."""


def tie_starts(scores: Tensor, resolution: float) -> Tensor:
    """Which scores are the first of those that count as equal.

    Args:
        scores: [n], ascending; those of different kinds apart by at least 1.
        resolution: See `RESOLUTION`; 0 for equal numbers alone.

    Returns:
        bool [n].
    """
    starts = torch.ones_like(scores, dtype=torch.bool)
    if not len(scores):
        return starts
    distance = resolution * scores.abs().clamp(min=1.0)
    starts[1:] = scores[1:] - scores[:-1] > distance[1:]
    first = starts.nonzero().squeeze(1)[starts.cumsum(0) - 1]
    cell = ((scores - scores[first]) / (WIDTH * distance[first]).clamp(min=torch.finfo(scores.dtype).tiny)).floor()
    starts[1:] |= (cell[1:] != cell[:-1]) & (scores[1:] != scores[:-1])
    return starts
