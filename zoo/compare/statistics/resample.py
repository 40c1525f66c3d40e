"""Users drawn with replacement, as weights: one set of draws for all contenders, so that differences are paired."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array: TypeAlias = NDArray[Any]
CHUNK = 64
"""Draws at least that are worked on together: their weights of some thousand users stay in the cache of a core."""
WEIGHTS = 2**16
"""Weights that are worked on together where users are few."""


def draw_users(users: int, draws: int, seed: int) -> list[Tensor]:
    """How often every user is in each draw of as many users with replacement (multinomial weights).

    Args:
        users: U, the users of the test rows.
        draws: B.
        seed: Of the draws.

    Returns:
        uint8 [U, some draws] each, B columns together; a user is drawn 255 times at most.
    """
    random = np.random.default_rng(seed)
    blocks = []
    width = max(CHUNK, WEIGHTS // max(users, 1))
    for start in range(0, draws, width):
        drawn = random.integers(0, users, (min(width, draws - start), users))
        counts = [np.bincount(draw, minlength=users).clip(max=255).astype(np.uint8) for draw in drawn]
        blocks.append(torch.from_numpy(np.stack(counts, axis=1)))
    return blocks


def draws_of_ratio(above: Array, below: Array, weights: Sequence[Tensor]) -> Array:
    """A ratio of two sums over users, such as a mean over rows, for every draw of users.

    Args:
        above: [U], what each user adds above the bar: the sum of squared errors of its rows.
        below: [U], what it adds below: the number of its rows.
        weights: Of `draw_users`.

    Returns:
        [B]; NaN where a draw has nothing below.
    """
    both = torch.from_numpy(np.stack([above, below]).astype(np.float64))
    blocks = (floating(block) for block in weights)
    sums = torch.cat([(both.to(block.dtype) @ block).double() for block in blocks], 1).numpy()
    ratio: Array = np.divide(sums[0], sums[1], out=np.full(sums.shape[1], np.nan), where=sums[1] > 0)
    return ratio


def floating(weights: Tensor) -> Tensor:
    """Counts as float32, which is precise enough for draws; float64 stays."""
    return weights if weights.is_floating_point() else weights.float()


def effective_users(counts: Array) -> float:
    """How many users of equal size would be as good: ``(sum n)^2 / sum n^2`` (Kish 1965).

    Args:
        counts: [U] rows of each user, or [2, U] its negatives and positives, of which the scarcer class counts.
    """
    counts = np.atleast_2d(counts).astype(np.float64)
    squares = np.square(counts).sum(1)
    return float(np.divide(counts.sum(1) ** 2, squares, out=np.zeros(len(counts)), where=squares > 0).min())
