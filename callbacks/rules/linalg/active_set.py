"""``min x'Qx/2 - b'x`` over ``x >= 0``, many at once and without a transfer to the host.

The active-set method of Lawson and Hanson (1974) on the sweep tableau of Q: each turn moves one variable in or out, and
every number of a turn is a tensor over all problems. The number of turns is fixed, so nothing waits for a value; a
problem that is solved stands still. (Many tasks on a CPU first try many variables at a time, see `linalg.pivoting`, and
stop when none moves.) Every point on the way is feasible and better than the one before: a problem that needs more
turns than there are ends at a feasible point.
"""

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.linalg.chunks import by_chunks, together
from mtlzoo.callbacks.rules.linalg.pivoting import many, pivot
from mtlzoo.callbacks.rules.linalg.rounding import noise


def nonnegative(matrix: Tensor, linear: Tensor) -> Tensor:
    """``min x'Qx/2 - b'x`` over ``x >= 0`` for a psd Q with a diagonal near 1, b in its range (so there is a minimum).

    Args:
        matrix: [..., T, T].
        linear: [..., K, T]: K problems of one matrix.

    Returns:
        [..., K, T].
    """
    if not many(matrix):
        return by_chunks(_nonnegative, matrix[..., None, :, :].expand(*linear.shape, linear.shape[-1]), linear)
    flat = matrix.flatten(0, -3) if matrix.dim() > 2 else matrix[None]
    right = linear.reshape(len(flat), *linear.shape[-2:])
    x, solved = pivot(flat, right[:, :, None], _guess(flat, right), _judge)
    for one in (~solved).nonzero().split(together(matrix)):
        group, problem = one.unbind(1)
        x[group, problem] = by_chunks(_nonnegative, flat[group], right[group, problem])
    return x.reshape(linear.shape)


NEAR = 8.0
"""Sums of a row's cosines up to this: of gradients that are so nearly at right angles that descent gets somewhere."""


def _guess(matrix: Tensor, linear: Tensor) -> Tensor:
    """Which variables may be above zero: those of positive slope, or what some steps of accelerated descent leave.

    These steps are cheaper than a turn of `pivot`, of which they save one or two.
    """
    lengths = matrix.abs().sum(-1)
    near = lengths.amax(-1) < NEAR
    x = ahead = linear.clamp(min=0.0)
    for number in range(10 if near.any() else 0):
        moved = (ahead + (linear - ahead @ matrix) / lengths[:, None]).clamp(min=0.0)
        x, ahead = moved, moved + number / (number + 3.0) * (moved - x)
    return torch.where(near[:, None, None], x, linear) > 0


def _judge(values: Tensor, left: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For `pivot`: a variable should rise where its derivative is more than rounding."""
    x, slope, size = values[:, 0], left[:, 0], vectors[:, 0].abs().amax(-1, keepdim=True)
    rising = slope > noise(x.shape[-1]) * (size + x.clamp(min=0).sum(-1, keepdim=True))
    return x, rising, torch.ones_like(size[:, 0], dtype=torch.bool)


def sweep(table: Tensor, index: Tensor, go: Tensor, sign: Tensor) -> None:
    """Moves one variable of each problem into (sign 1) or out of (sign -1) the solved ones, in place.

    Afterwards, with P the solved ones and N the others, the table ``[Q | b]`` holds ``-inv(Q_PP)``,
    ``inv(Q_PP) Q_PN``, the Schur complement of N, ``inv(Q_PP) b_P`` and ``b_N - Q_NP inv(Q_PP) b_P``.

    Args:
        table: [T, T + K, N].
        index: [N].
        go: [N], whether to.
        sign: [N].
    """
    tasks, columns = table.shape[:2]
    across, along, at = index.expand(1, columns, -1), index.expand(tasks, 1, -1), index.expand(1, 1, -1)
    row = table.gather(0, across)
    pivot = row.gather(1, at)
    inverse = torch.where(go, 1.0 / pivot, 0.0)
    scaled = row * inverse
    # The square part stays symmetric: the column of the pivot is its row.
    table.addcmul_(row[0, :tasks, None], scaled, value=-1.0)
    row = torch.where(go, scaled * sign, row)
    row.scatter_(1, at, torch.where(go, -inverse, pivot))
    table.scatter_(1, along, row[0, :tasks, None])
    table.scatter_(0, across, row)


def swept(matrix: Tensor, vectors: list[Tensor], passive: Tensor) -> tuple[Tensor, Tensor]:
    """A fresh table ``[Q | b ...]`` with the passive variables moved in, and which are: not those that depend."""
    table = torch.cat([matrix, torch.stack(vectors, 1)], 1).contiguous()
    inside = []
    for task, wanted in enumerate(passive):
        go = wanted & (table[task, task] > noise(len(matrix)))
        sweep(table, torch.full_like(go, task, dtype=torch.int64), go, torch.ones_like(table[0, 0]))
        inside.append(go)
    return table, torch.stack(inside)


def _nonnegative(matrix: Tensor, linear: Tensor) -> Tensor:
    """`nonnegative` for [T, T, N] and [T, N]."""
    tasks = len(matrix)
    x, passive = torch.zeros_like(linear), torch.zeros_like(linear, dtype=torch.bool)
    size = linear.abs().amax(0)
    table = torch.cat([matrix, linear[:, None]], 1).contiguous()
    x, passive = _walk(table, x, passive, size, tasks + 2)
    # A variable that came in almost dependent and left again has rounded the table: a fresh one, and on.
    table, passive = swept(matrix, [linear], passive)
    return _walk(table, torch.where(passive, x, 0.0), passive, size, tasks + 2)[0]


def _walk(table: Tensor, x: Tensor, passive: Tensor, size: Tensor, turns: int) -> tuple[Tensor, Tensor]:
    """Turns of the active-set method, each moving one variable of each problem that isn't solved."""
    tasks = len(x)
    small = noise(tasks)
    places = torch.arange(tasks, device=x.device)[:, None]
    schur = table.diagonal(dim1=0, dim2=1).T
    value, asks = table[:, tasks], many(table[:, :tasks].permute(2, 0, 1))
    for _ in range(turns):
        # Towards the solution of the passive ones, until one of them would be negative: that one leaves.
        target = torch.where(passive, value, 0.0)
        step, leaving = torch.where(target < 0, x / (x - target), 2.0).min(0)
        leave = step <= 1
        x = torch.lerp(x, target, step.clamp(max=1.0)).clamp(min=0.0)
        # All of them positive: the one that improves most comes in, where its derivative is more than rounding.
        slope = value - target
        fit = (slope > small * (size + x.sum(0))) & (schur > small)
        best, entering = torch.where(fit, slope * slope / schur, 0.0).max(0)
        go = leave | (best > 0)
        index = torch.where(leave, leaving, entering)
        if asks and not go.any():
            break
        passive = passive ^ ((places == index) & go)
        x = torch.where(passive, x, 0.0)
        sweep(table, index, go, torch.where(leave, -1.0, 1.0))
    target = torch.where(passive, value, 0.0)
    step = torch.where(target < 0, x / (x - target), 1.0).amin(0)
    return torch.lerp(x, target, step).clamp(min=0.0), passive
