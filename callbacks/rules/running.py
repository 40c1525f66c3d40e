"""Inner products of gradients that are corrected by one another, step after step."""

import torch
from torch import Tensor, nn


class Running:
    """The products ``<c_i J, g_j>`` of T gradients, each of which is corrected by the others in an order of its own.

    A step costs a few operations on [n, R, T] numbers, however many there were before it.

    Args:
        gramian: [n, T, T].
        orders: int64 [R, K], R a multiple of T: row r begins with the gradient of task ``r % T`` and goes through its
            tasks in turn.

    Attributes:
        others: K times [R]: whom each row meets in a step.
    """

    def __init__(self, gramian: Tensor, orders: Tensor) -> None:
        tasks = gramian.shape[-1]
        rows = torch.arange(len(orders), device=gramian.device)
        self.others = orders.T.contiguous().unbind(0)
        self._places = (orders.T + rows * tasks).unbind(0)
        self._gramian = gramian
        self._products = gramian.repeat(1, len(orders) // tasks, 1)
        self._flat = self._products.flatten(1)
        self._met = torch.empty_like(self._products)

    def inner(self, step: int) -> Tensor:
        """Each row's product with whom it meets, [n, R]."""
        return self._flat.index_select(1, self._places[step])

    def add(self, step: int, factor: Tensor) -> None:
        """Adds ``factor`` [n, R] times the gradient of whom each row meets."""
        torch.index_select(self._gramian, 1, self.others[step], out=self._met)
        self._products.addcmul_(self._met, factor[..., None])


def weights_of(factors: Tensor, orders: Tensor, tasks: int) -> Tensor:
    """What the corrections of T rows after T rows sum to, with each row's own gradient: [n, R].

    Args:
        factors: [K, R, n], how much of whom it meets each row takes.
        orders: int64 [R, K].
        tasks: T.
    """
    rows = torch.arange(len(orders), device=orders.device)
    # Each weight is summed in one order, whatever the device: its bits must not depend on which addition comes first.
    targets, order = (orders.T + (rows - rows % tasks)).flatten().sort(stable=True)
    starts = torch.searchsorted(targets, rows)
    return nn.functional.embedding_bag(order, factors.flatten(0, 1), starts, mode="sum").add_(1.0).T
