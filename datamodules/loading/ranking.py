"""Batches of data sets with users and items: rows with draws beside them, and users with what they should be shown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mtlzoo.datamodules.loading.batches import BatchLoader
from mtlzoo.datamodules.loading.draws import BatchDraws
from mtlzoo.datamodules.prepare.lists import Lists

PADDED = 2**24
"""Ids of a batch of users, padding included: 64 MB."""


class DrawingLoader(BatchLoader):
    """A `BatchLoader` that adds draws to every batch.

    Args:
        draws: What is drawn.
        *args: See `BatchLoader`.
        **kwargs: See `BatchLoader`.
    """

    _keeps = False  # draws are made on the CPU

    def __init__(self, draws: BatchDraws, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.draws = draws

    def _in_order(self, first: int) -> Iterator[dict[str, Tensor]]:
        size = self.batch_size * self.world_size
        for begin in range(first * size, self.rows, size):
            yield self._take(torch.arange(begin, min(begin + size, self.rows)))

    def _take(self, positions: Tensor) -> dict[str, Tensor]:
        batch = super()._take(positions)
        whole = self.columns["categorical"].index_select(0, positions).numpy()
        share = slice(*self._share(0, len(positions)))
        drawn = self.draws(whole, positions.numpy(), share, self._epoch)
        return batch | {name: torch.from_numpy(ids) for name, ids in drawn.items()}


class UserLoader:
    """Batches of users that have something to find, every process its own part of them.

    Args:
        relevant: Of each user the items to find.
        seen: Of each user the items that are left out.
        batch_size: Users per batch; fewer where somebody's list is so long that a batch would hold over `PADDED` ids.
        rank: This process.
        world_size: Number of processes.

    Each batch holds ``user`` int32 [B], ``relevant`` int32 [B, R] and ``seen`` int32 [B, S], padded with 0.
    """

    def __init__(self, relevant: Lists, seen: Lists, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.relevant = relevant
        self.seen = seen
        longest = max(seen.sizes.max(initial=1), relevant.sizes.max(initial=1))
        self.batch_size = min(batch_size, max(1, PADDED // int(longest)))
        users = np.flatnonzero(relevant.sizes)
        self.users = users[len(users) * rank // world_size : len(users) * (rank + 1) // world_size]
        self._batches = -(-len(users) // (self.batch_size * world_size))

    def __repr__(self) -> str:
        """Users and batches."""
        return f"UserLoader({len(self.users):,} users in {len(self):,} batches of {self.batch_size:,})"

    def __len__(self) -> int:
        """Batches of every process."""
        return self._batches

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """All users once, in order; a process with too few of them ends with an empty batch."""
        for start in range(0, self._batches * self.batch_size, self.batch_size):
            users = self.users[start : start + self.batch_size]
            yield {
                "user": torch.from_numpy(users.astype(np.int32)),
                "relevant": torch.from_numpy(self.relevant.padded(users)),
                "seen": torch.from_numpy(self.seen.padded(users)),
            }


class OneAfterAnother:
    """The batches of several loaders.

    Args:
        loaders: Iterables of batches with a length.
        identity: As for `BatchLoader`.
    """

    def __init__(self, loaders: Sequence[BatchLoader | UserLoader], identity: Mapping[str, Any] | None = None) -> None:
        self.loaders = loaders
        self.identity = identity

    def __repr__(self) -> str:
        """The loaders."""
        return f"OneAfterAnother({', '.join(map(repr, self.loaders))})"

    def __len__(self) -> int:
        """Batches of all."""
        return sum(map(len, self.loaders))

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """One loader after the other."""
        for loader in self.loaders:
            yield from loader
