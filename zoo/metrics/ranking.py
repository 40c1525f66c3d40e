"""Recall, hit rate, NDCG and reciprocal rank of what users are shown first."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mtlzoo.metrics.base import DoubleMetric
from mtlzoo.schema import PADDING, UNKNOWN

NAMES = ("recall", "hr", "ndcg", "mrr")


class RankingMetrics(DoubleMetric):
    """Means over users of ``recall@K``, ``hr@K``, ``ndcg@K`` and ``mrr@K``.

    * recall: hits among the first K, by the number of relevant items (all of them, also where they are more than K);
    * hr: whether there is a hit;
    * ndcg: hits discounted by ``1 / log2(rank + 1)``, by what min(relevant, K) hits at the top would have;
    * mrr: one by the rank of the first hit, 0 where none is among the first K.

    Users without a relevant item are left out. Sums are float64 and the same for one process and for many.

    Args:
        ks: Lengths K of the list.

    Raises:
        ValueError: No length, or one below 1.
    """

    def __init__(self, ks: Sequence[int] = (5, 10, 20, 40)) -> None:
        super().__init__()
        if not ks or min(ks) < 1:
            raise ValueError(f"RankingMetrics: ks={list(ks)}; allowed are numbers >= 1, at least one.")
        self.ks = tuple(ks)
        self.sums: Tensor
        self.users: Tensor
        self.add_state("sums", torch.zeros(len(NAMES), len(ks), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("users", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    @property
    def largest(self) -> int:
        """Items per user that `update` wants."""
        return max(self.ks)

    def update(self, top: Tensor, relevant: Tensor, broken: Tensor | None = None) -> None:
        """Adds users; nothing here waits for the device.

        Args:
            top: Ids of the items shown, best first, int [B, `largest`]; 0 where there are no more.
            relevant: Ids of the items to find, int [B, R], in any order, padded with 0 or less. An id counts once; but
                1, an item that the vocabulary does not know and that can't be found, counts every time.
            broken: Users whose scores are not numbers, bool [B]: one of them leaves all metrics undefined.

        Raises:
            ValueError: Fewer columns in `top` than `largest`.
        """
        if top.shape[1] < self.largest:
            raise ValueError(
                f"RankingMetrics: {top.shape[1]} items per user; it needs {self.largest} (0 where none is)."
            )
        if not relevant.shape[1]:
            return
        top = top[:, : self.largest].contiguous()
        ordered = relevant.to(top.dtype).sort(1).values
        fresh = torch.ones_like(ordered, dtype=torch.bool)
        fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        number = ((fresh | (ordered == UNKNOWN)) & (ordered > PADDING)).sum(1)
        places = torch.searchsorted(ordered, top).clamp(max=ordered.shape[1] - 1)
        hits = ((ordered.gather(1, places) == top) & (top > UNKNOWN)).double()
        ranks = torch.arange(1, self.largest + 1, device=top.device)
        discount = 1 / (ranks + 1).double().log2()
        # Not by cumsum, which CUDA refuses where a trainer is deterministic.
        best = discount @ discount.new_ones(self.largest, self.largest + 1).triu(1)
        there = number > 0
        if broken is not None:
            self.sums += torch.where((there & broken).any(), torch.nan, 0.0)
        for column, k in enumerate(self.ks):
            some, count = hits[:, :k], number.clamp(min=1)
            first = torch.where(some > 0, 1 / ranks[:k].double(), 0.0).amax(1)
            ideal = best[count.clamp(max=k)]
            values = (some.sum(1) / count, some.amax(1), (some * discount[:k]).sum(1) / ideal, first)
            for row, value in enumerate(values):
                self.sums[row, column] += torch.where(there, value, 0.0).sum()
        self.users += there.sum()

    def compute(self) -> dict[str, Tensor]:
        """Metrics by name, float64 scalars; NaN where there was no user."""
        means = self.sums / self.users
        return {f"{name}@{k}": means[i, j] for i, name in enumerate(NAMES) for j, k in enumerate(self.ks)}
