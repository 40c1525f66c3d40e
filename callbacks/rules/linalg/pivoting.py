"""Block principal pivoting: programs of many variables at zero or above, on a CPU.

Júdice and Pires (Computers & OR 1994), Kim and Park (SIAM J. Sci. Comput. 2011): guess which variables are above zero,
solve for them, and let all that are wrong change sides at once. A handful of turns does, each of one Cholesky
factorisation, where a walk moves one variable in a turn. It need not end: what it gives is checked by the conditions of
optimality, and what is not solved is left to the walk of `linalg.active_set`. It asks for values in every turn,
which costs nothing on a CPU and a wait on a GPU.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from mtlzoo.callbacks.rules.linalg.rounding import noise

FEW_TASKS = 16
TURNS, PATIENCE = 30, 5
"""The most turns, and those after which a problem is left that came no nearer: so many do where gradients depend."""

RIDGE = 1e-10
"""Added to the diagonal where variables depend on each other, to go on from there; never in a result."""

Judge = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""Of [n, V, T] each: solutions of the variables above zero, what is left of the vectors, the vectors. To the variables
[n, T], which of those at zero should rise [n, T], and whether both can be trusted [n]."""


def many(matrix: Tensor) -> bool:
    """Whether values may be asked: where [..., T, T] is on a CPU, of enough tasks, and not empty."""
    return matrix.device.type == "cpu" and matrix.shape[-1] > FEW_TASKS and matrix.numel() > 0


def pivot(matrix: Tensor, vectors: Tensor, above: Tensor, judge: Judge) -> tuple[Tensor, Tensor]:
    """The variables of K problems per matrix, and which problems they solve.

    Args:
        matrix: [G, T, T], psd, the diagonal near 1.
        vectors: [G, K, V, T], right sides.
        above: [G, K, T], the first guess.
        judge: What the problem is.

    Returns:
        [G, K, T] and [G, K].
    """
    groups, problems, _, tasks = vectors.shape
    padded, flat = F.pad(matrix, (0, 1, 0, 1)), vectors.flatten(0, 1)
    owner = torch.arange(groups).repeat_interleave(problems)
    above, x = above.flatten(0, 1).clone(), torch.zeros_like(flat[:, 0])
    values, solved, open_ = torch.zeros_like(flat), torch.zeros(len(flat), dtype=torch.bool), torch.arange(len(flat))
    fewest, late = torch.full_like(open_, tasks + 1), torch.zeros_like(open_)
    for _ in range(TURNS):
        values[open_], regular = _solve(padded, owner[open_], flat[open_], above[open_])
        left = (flat - (values.view(groups, -1, tasks) @ matrix).view_as(flat))[open_]
        x[open_], rising, trusted = judge(values[open_], left, flat[open_])
        wrong = torch.where(above[open_], x[open_] < 0, rising)
        size = flat[open_].abs().amax(-1, keepdim=True) + values[open_].abs().sum(-1, keepdim=True)
        rest = torch.where(above[open_][:, None], left.abs() <= noise(tasks) * size, True).all(-1).all(-1)
        count = wrong.sum(-1)
        solved[open_] = (count == 0) & regular & trusted & rest
        above[open_] ^= wrong
        late[open_] = torch.where(count < fewest[open_], 0, late[open_] + 1)
        fewest[open_] = torch.minimum(fewest[open_], count)
        open_ = open_[(count > 0) & (late[open_] < PATIENCE)]
        if not len(open_):
            break
    return x.view(groups, problems, tasks), solved.view(groups, problems)


def _solve(padded: Tensor, owner: Tensor, vectors: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
    """Solutions [n, V, T] of the variables above zero, 0 elsewhere, and whether they are independent [n]."""
    values, pivots = solve_some(padded, owner, vectors, above)
    dependent = (~(pivots > noise(above.shape[-1]))).nonzero().squeeze(1)
    if len(dependent):
        given = (padded, owner[dependent], vectors[dependent], above[dependent])
        values[dependent] = solve_some(*given, RIDGE)[0]
    return values, pivots > noise(above.shape[-1])


def solve_some(
    padded: Tensor, owner: Tensor, vectors: Tensor, chosen: Tensor, ridge: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Solves for some of the variables of each problem, by Cholesky's method.

    Args:
        padded: [G, T + 1, T + 1], psd matrices with a row and a column of zeros at the end.
        owner: [n], the matrix of each problem.
        vectors: [n, V, T], right sides.
        chosen: [n, T], which variables.
        ridge: Added to the diagonals.

    Returns:
        [n, V, T], 0 for the others; and [n], the smallest pivot, 0 where there is no solution.
    """
    values, pivots = torch.zeros_like(vectors), torch.zeros_like(vectors[:, 0, 0])
    # Sets of about the same size together, in the cache: the largest is the width of all.
    for some in chosen.sum(-1).argsort().split(max(1, 2**20 // padded.shape[-1] ** 2)):
        values[some], pivots[some] = _cholesky(padded, owner[some], vectors[some], chosen[some], ridge)
    return values, pivots


def _cholesky(padded: Tensor, owner: Tensor, vectors: Tensor, chosen: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    side, counts = padded.shape[-1], chosen.sum(-1)
    width = max(1, int(counts.max()))
    places = chosen.to(torch.int8).argsort(dim=-1, descending=True, stable=True)[:, :width]
    missing = torch.arange(width) >= counts[:, None]
    places = places.masked_fill(missing, side - 1)
    rows = (
        padded.flatten(0, 1).index_select(0, (places + side * owner[:, None]).flatten()).view(len(owner), width, side)
    )
    block = rows.gather(2, places[:, None].expand(-1, width, -1))
    block.diagonal(dim1=1, dim2=2).add_(missing.double() + ridge)
    factor, failed = torch.linalg.cholesky_ex(block, upper=True)
    at = places[:, None].expand(-1, vectors.shape[1], -1)
    found = torch.cholesky_solve(F.pad(vectors, (0, 1)).gather(2, at).mT, factor, upper=True).mT
    values = vectors.new_zeros(*vectors.shape[:2], side).scatter_(2, at, found)
    return values[..., :-1], torch.where(failed == 0, factor.diagonal(dim1=1, dim2=2).square().amin(-1), 0.0)
