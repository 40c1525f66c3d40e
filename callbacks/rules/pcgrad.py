"""`PCGrad`: removes from each gradient what conflicts with the others, one after another."""

from itertools import islice, permutations
from typing import Literal

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.linalg.rounding import TINY
from mtlzoo.callbacks.rules.orders import OrderedRule
from mtlzoo.callbacks.rules.running import Running, weights_of
from mtlzoo.callbacks.to_device import sent

MOST_TASKS = 9
CHUNK = 2**22
"""Numbers of the coefficients [groups, orders, T, T] that are worked on together."""


class PCGrad(OrderedRule):
    """Projecting conflicting gradients (Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020).

    Each task i begins with its own gradient, ``c_i = e_i``, and goes through the other tasks j in some order; where
    ``<c_i J, g_j> < 0`` it projects on the plane orthogonal to g_j: ``c_ij -= <c_i J, g_j> / |g_j|^2``.
    ``w = sum_i c_i``.

    Needs the Gramian; keeps only the number of draws. Multiplying all gradients by c changes no weight; making one
    task larger changes the others' by the paper's rule: projections don't depend on the length of g_j, but the sum is
    ruled by the longest gradients. A task without gradient neither projects nor is projected. Two opposite gradients
    cancel both; duplicates are left alone.

    LibMTL also projects each g_i on itself after the others, which the paper doesn't; torchjd is as here, on the CPU.

    Args:
        order: ``random``, as in the paper: one order of the others per task and call, the same in all groups;
            ``fixed``: ascending; ``mean``: the exact mean of the weights over all (T-1)! orders, for at most 9 tasks
            and few groups.
        seed: Of the random orders.

    Raises:
        ValueError: An unknown order; in the call, ``mean`` with more than 9 tasks.
    """

    def __init__(self, order: Literal["random", "fixed", "mean"] = "random", seed: int = 0) -> None:
        super().__init__(order, seed, ("random", "fixed", "mean"))

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """Projects in the order of this call, or in all."""
        tasks = gramian.shape[-1]
        if self.order != "mean":
            return project(gramian, self._orders(tasks, gramian.device))
        if tasks > MOST_TASKS:
            raise ValueError(
                f"PCGrad(order='mean') goes through all (T-1)! orders, so it takes at most {MOST_TASKS} tasks, got "
                f"{tasks}; use order='random' or 'fixed'."
            )
        together = max(1, CHUNK // max(gramian.numel(), 1))
        total, count = torch.zeros_like(gramian[..., 0]), 0
        places = permutations(range(tasks - 1))
        while chunk := list(islice(places, together)):
            place = sent(torch.tensor(chunk, dtype=torch.int64), gramian.device).reshape(len(chunk), 1, tasks - 1)
            own = torch.arange(tasks, device=gramian.device)[:, None]
            total = total + project(gramian, place + (place >= own)).sum(-2)
            count += len(chunk)
        return total / count


FEW_TASKS = 12
"""Up to so many, a step is fastest from the steps before it; with more, from running inner products."""

_BLOCK = 1 << 16
"""Projections at a time on a CPU, so that they stay in its cache."""


def project(gramian: Tensor, orders: Tensor) -> Tensor:
    """Weights of PCGrad in given orders.

    Args:
        gramian: [..., T, T].
        orders: int64 [T, K] or [P, T, K]: in [..., i, :] the tasks that task i is projected on, in turn.

    Returns:
        [..., T], or [..., P, T].
    """
    tasks, flat = gramian.shape[-1], gramian.flatten(0, -3) if gramian.dim() > 2 else gramian[None]
    rows = orders.flatten(0, -2)
    some, size = (_few, len(rows)) if tasks <= FEW_TASKS else (_many, rows.numel())
    block = _BLOCK // size if gramian.device.type == "cpu" else len(flat)
    parts = [some(part, rows) for part in flat.split(max(block, 1))]
    return torch.cat(parts).reshape(*gramian.shape[:-2], *orders.shape[:-2], tasks)


def _few(gramian: Tensor, orders: Tensor) -> Tensor:
    """[n, T, T] and [P T, K] -> [n, P T]."""
    tasks = gramian.shape[-1]
    # Groups last: every operation runs over contiguous numbers, and a step costs only the steps before it.
    products = gramian.permute(1, 2, 0).reshape(tasks * tasks, -1)
    own = torch.arange(len(orders), device=orders.device) % tasks
    squares = products[:: tasks + 1].clamp_min(TINY)
    others, factors = orders.unbind(-1), products.new_empty(*orders.T.shape, products.shape[1])
    for number, other in enumerate(others):
        inner = torch.index_select(products, 0, own * tasks + other, out=factors[number])
        for before, factor in zip(others[:number], factors, strict=False):
            inner.addcmul_(factor, products[before * tasks + other])
        _end_conflicts(inner, squares[other])
    return weights_of(factors, orders, tasks)


def _many(gramian: Tensor, orders: Tensor) -> Tensor:
    """The same for many tasks."""
    running = Running(gramian, orders)
    squares = gramian.diagonal(dim1=-2, dim2=-1).clamp_min(TINY)
    factors = gramian.new_empty(*orders.T.shape, len(gramian))
    for number, other in enumerate(running.others):
        factor = _end_conflicts(running.inner(number), squares.index_select(1, other))
        running.add(number, factor)
        factors[number] = factor.T
    return weights_of(factors, orders, gramian.shape[-1])


def _end_conflicts(inner: Tensor, square: Tensor) -> Tensor:
    """How much of the gradient that is met ends a conflict with it, in place of their inner product."""
    return inner.clamp_max_(0.0).div_(square).neg_()
