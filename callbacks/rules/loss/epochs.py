"""Mean loss of every task over an epoch, kept as buffers."""

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.base import LossRule


class EpochMeans(LossRule):
    """A rule that needs the mean losses of the epoch: call `collect` in `solve`, `take` at its end.

    A loss of 0 is not counted; a task without any in an epoch has the mean 0.
    """

    totals: Tensor
    counts: Tensor
    epochs: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("totals", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("epochs", torch.tensor(0))

    def allocate(self, tasks: int) -> None:
        """Makes room for the sums."""
        if self.totals.shape != (tasks,):
            self.totals, self.counts = self.totals.new_zeros(tasks), self.counts.new_zeros(tasks)

    def collect(self, losses: Tensor, active: Tensor) -> None:
        """Adds the losses of a batch; those that are not finite are left out."""
        counted = active & torch.isfinite(losses)
        self.totals += torch.where(counted, losses, 0.0)
        self.counts += counted

    def take(self) -> Tensor:
        """The means [T] since the last call."""
        means = self.totals / self.counts.clamp(min=1.0)
        self.totals.zero_()
        self.counts.zero_()
        self.epochs += 1
        return means
