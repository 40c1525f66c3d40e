"""The sum of gradients of one table that touch different rows, and may touch one several times."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtlzoo.callbacks.equal_runs import firsts, starts


class Merging:
    """Sums what several parts say of one row; `settle` comes between.

    Args:
        parts: The rows that each touches, [n].

    Attributes:
        touched: How many rows all of them touch, on the device.
        index: [U], these rows, ascending; once it is settled.
    """

    index: Tensor

    def __init__(self, parts: Sequence[Tensor]) -> None:
        self._ordered, self._order = torch.cat(list(parts)).sort(stable=True)
        self._first = firsts(self._ordered)
        self.touched = self._first.sum()

    def settle(self, touched: int) -> None:
        """Learns how many rows are touched, which the host has to wait for."""
        self._places = starts(self._first, touched)
        self.index = self._ordered[self._places].long()

    def __call__(self, values: Sequence[Tensor]) -> Tensor:
        """[U, ...], the sums.

        Args:
            values: Of each part, [n, ...].
        """
        whole = torch.cat(list(values))
        sums = nn.functional.embedding_bag(self._order, whole.flatten(1), self._places, mode="sum")
        return sums.view(len(sums), *whole.shape[1:])


def settle(mergings: Sequence[Merging]) -> None:
    """Asks how many rows of each table are touched: the host waits for the device once, for all."""
    if mergings:
        found = torch.stack([one.touched for one in mergings]).tolist()
        for one, touched in zip(mergings, found, strict=True):
            one.settle(touched)
