"""Exact quadratic programs of T variables, many at once: pure torch in float64, no transfer to the host.

Both problems of the rules, the shortest combination of gradients in the simplex and the shortest above lower bounds,
are one problem, ``min x'Qx/2 - b'x`` over ``x >= 0``, solved by the active-set method of Lawson and Hanson (1974) on
the sweep tableau of Q: each turn moves one variable in or out, and every number of a turn is a tensor over all
problems. The number of turns is fixed, so nothing waits for a value; a problem that is solved stands still. (Many tasks
on a CPU first try many variables at a time, see `linalg.pivoting`, and stop when none moves.) Every
point on the way is feasible and better than the one before: one that needs more turns than there are ends at a
feasible point, whose distance from the optimum `simplex_gap` and `bound_gap` tell.

Gradients are divided by their norms first: tasks whose norms lie 1e12 apart are as exact as equal ones. What is below
the rounding of the Gramian itself, 1e-16 of ``|g_s| |g_t|``, counts as zero.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.linalg.pivoting import EPSILON, many, noise, pivot


def unit(gramian: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines of the active tasks, the identity for the others, and norms, 1 for the others.

    Args:
        gramian: [..., T, T].
        active: [..., T].
    """
    norms = torch.where(active, gramian.diagonal(dim1=-2, dim2=-1).clamp(min=0.0).sqrt(), 1.0)
    # An active task has a positive square by construction; NaN stays NaN.
    norms = torch.where(norms == 0, 1.0, norms)
    cosines = gramian / (norms[..., :, None] * norms[..., None, :])
    both = active[..., :, None] & active[..., None, :]
    eye = torch.eye(gramian.shape[-1], dtype=torch.bool, device=gramian.device)
    return torch.where(eye, 1.0, torch.where(both, cosines, 0.0)), norms


def poison(gramian: Tensor) -> Tensor:
    """[..., 1]: 0, or NaN where the Gramian is not finite; added to a result, it keeps it from looking well."""
    return (gramian * 0.0).sum((-2, -1))[..., None]


def min_norm(gramian: Tensor, active: Tensor, norms: Tensor | None = None) -> Tensor:
    """The convex combination of the active gradients that is shortest: ``min w'Gw``, w in the simplex.

    The vector is unique; the weights are where the gradients that take part are independent.

    Args:
        gramian: [..., T, T].
        active: [..., T]; the others get 0. No active task at all: all 0.
        norms: [..., T]: take gradients of these norms and the Gramian's directions instead of its own.

    Returns:
        [..., T].
    """
    cosines, own = unit(gramian, active)
    norms = own if norms is None else norms
    shortest = torch.where(active, norms, torch.inf).amin(-1, keepdim=True)
    inverse = torch.where(active, shortest / norms, 0.0)
    # With x = s w: min s^2 (w'Gw + 1) / 2 - s = -1 / (2 (1 + w'Gw)). Opposite gradients do not make this singular.
    x = nonnegative(cosines + inverse[..., :, None] * inverse[..., None, :], inverse[..., None, :])
    weights = x.squeeze(-2) * inverse
    total = weights.sum(-1, keepdim=True)
    return weights / torch.where(total == 0, 1.0, total) + poison(gramian)


def above(gramian: Tensor, active: Tensor, bounds: Tensor) -> Tensor:
    """The shortest combination whose weights are at least the bounds: ``min v'Gv``, ``v >= u``.

    It is the vector nearest to ``sum_t u_t g_t`` that opposes no gradient, its projection on the dual cone, hence
    unique; the weights are where the raised gradients are independent.

    Args:
        gramian: [..., T, T].
        active: [..., T]; the others keep their bound.
        bounds: [..., K, T]: K problems of the same gradients.

    Returns:
        [..., K, T].
    """
    cosines, norms = unit(gramian, active)
    lengths = torch.where(active[..., None, :], bounds * norms[..., None, :], 0.0)
    largest = lengths.abs().amax(-1, keepdim=True)
    largest = torch.where(largest == 0, 1.0, largest)
    lengths = lengths / largest
    masked = torch.where(active[..., None, :], lengths @ cosines, 0.0)
    raised = nonnegative(cosines, -masked)
    return bounds + raised * largest / norms[..., None, :] + poison(gramian)[..., None]


def simplex_gap(gramian: Tensor, weights: Tensor) -> Tensor:
    """How far ``w'Gw`` is above its minimum over the simplex of the tasks with gradient at most, by duality: [...].

    A product of a long gradient with a short combination has a rounding far above the combination's square; each
    product counts as larger by its rounding.
    """
    products = (gramian @ weights[..., None]).squeeze(-1)
    norms = gramian.diagonal(dim1=-2, dim2=-1).sqrt()
    rounding = 8 * gramian.shape[-1] * EPSILON * norms * (weights * norms).sum(-1, keepdim=True)
    least = torch.where(norms > 0, products + rounding, torch.inf).amin(-1)
    square = (weights * products).sum(-1)
    return (2.0 * (square - least.where(least.isfinite(), 0.0))).clamp(min=0.0)


def bound_gap(gramian: Tensor, bounds: Tensor, weights: Tensor) -> Tensor:
    """How far ``v'Gv`` is above its minimum over ``v >= u`` at most: [...].

    Exact duality where the combination opposes no gradient. Where it does, by rounding, the bound is over those v whose
    ``|g_t| (v_t - u_t)`` are at most the sum of ``|g_t| v_t`` of these weights.
    """
    products = (gramian @ weights[..., None]).squeeze(-1)
    norms = gramian.diagonal(dim1=-2, dim2=-1).sqrt()
    reach = (weights.abs() * norms).sum(-1, keepdim=True) / torch.where(norms == 0, 1.0, norms)
    slack = ((weights - bounds) * products).sum(-1)
    gap = 2.0 * (slack + (products.clamp(max=0.0).neg() * reach).sum(-1))
    return torch.minimum(gap, (weights * products).sum(-1)).clamp(min=0.0)


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
    for one in (~solved).nonzero().split(_together(matrix)):
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


def _together(matrix: Tensor) -> int:
    """How many problems [..., T, T] fit the cache."""
    return max(1, (2**17 if matrix.device.type == "cpu" else 2**25) // matrix.shape[-1] ** 2)


def by_chunks(solver: Callable[..., Tensor], matrix: Tensor, *vectors: Tensor) -> Tensor:
    """Runs a solver of ([T, T, N], [T, N] ...) to [T, N] on [..., T, T] and [..., T], in pieces that fit the cache."""
    shape, tasks = matrix.shape[:-1], matrix.shape[-1]
    flat = matrix.reshape(-1, tasks, tasks)
    rows = [vector.reshape(-1, vector.shape[-1]) for vector in vectors]
    size = _together(matrix)
    pieces = [
        solver(flat[i : i + size].permute(1, 2, 0), *(row[i : i + size].T.contiguous() for row in rows)).T
        for i in range(0, len(flat), size)
    ]
    return torch.cat(pieces).reshape(shape) if pieces else matrix.new_zeros(shape)


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
