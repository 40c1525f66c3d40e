"""DWA: more weight for tasks whose loss falls slowly."""

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check
from mtlzoo.callbacks.rules.linalg.simplex import masked_softmax
from mtlzoo.callbacks.rules.loss.epochs import EpochMeans


class DWA(EpochMeans):
    """Dynamic weight average (Liu, Johns and Davison, CVPR 2019).

    ``w = T softmax(r / temperature)`` with ``r_t`` the mean loss of the last epoch divided by that of the epoch before
    it; 1 for all in the first two epochs. Scale-free in every task. Its state are the means of two epochs and the sums
    of this one. Tasks without loss in this batch are left out, T then being the others' number; a task that had no loss
    in one of those epochs has ``r_t = 1``.

    Differs from torchjd and LibMTL by leaving tasks out; else the same.

    Args:
        temperature: The higher, the more equal.
    """

    last: Tensor
    before: Tensor

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__()
        check(self, "temperature", temperature, "a positive number", temperature > 0)
        self.temperature = temperature
        self.register_buffer("last", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("before", torch.zeros(0, dtype=torch.float64))

    def allocate(self, tasks: int) -> None:
        """Makes room for the means."""
        super().allocate(tasks)
        if self.last.shape != (tasks,):
            self.last, self.before = self.last.new_zeros(tasks), self.before.new_zeros(tasks)

    def solve(self, losses: Tensor, active: Tensor) -> Tensor:
        """The weights; see the class."""
        self.allocate(len(losses))
        self.collect(losses, active)
        known = (self.last > 0) & (self.before > 0)
        rates = torch.where(known, self.last / torch.where(known, self.before, 1.0), 1.0)
        # In the first two epochs nothing is known: equal rates, equal weights.
        return active.sum() * masked_softmax(rates / self.temperature, active)

    def end_epoch(self) -> None:
        """Moves the means on."""
        self.before.copy_(self.last)
        self.last.copy_(self.take())
