"""The fixed point of Nash-MTL and FairGrad: every task gains in proportion to a power of its own weight."""

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.linalg import pivoting
from mtlzoo.callbacks.rules.linalg.chunks import by_chunks, for_solver
from mtlzoo.callbacks.rules.linalg.cosines import poison, unit

RIDGE = 1e-13
"""Part of its own squared norm that every gradient is given beside the others', see `fair_weights`."""

STEPS = 20
HALVINGS = 5


def fair_weights(gramian: Tensor, active: Tensor, power: float) -> Tensor:
    """The positive w with ``(G w)_t = w_t^-power`` for the active tasks, by Newton's method.

    It is the minimum of a strictly convex function, found from any start by exact line searches along Newton's
    directions, in weights relative to the current ones: a fixed number of steps, for all groups at once. Where tasks
    are Pareto stationary there is no solution and the weights would grow without end while their vector shrinks to
    nothing. Each task's squared norm therefore counts as larger by 1e-13 of itself, whatever its scale: the weights
    end near ``3e6 / |g_t|`` and the vector at 0, continuously. Elsewhere this changes ``w_t`` by about
    ``1e-13 (w_t |g_t|)^2`` of itself.

    Args:
        gramian: [..., T, T].
        active: [..., T].
        power: Positive.

    Returns:
        [..., T]; of no meaning for inactive tasks, but finite.
    """
    cosines, norms = unit(gramian, active)
    # In y = |g| w and cosines: (C y)_t = gain_t y_t^-power.
    gains = norms ** (power - 1.0)
    lengths = by_chunks(lambda matrix, gain: _newton(matrix, gain, power), cosines, gains)
    return lengths / norms + poison(gramian)


def _newton(cosines: Tensor, gains: Tensor, power: float) -> Tensor:
    """Lengths y [T, N]: minimises ``y'Cy/2 - sum gain_t y_t^(1-power) / (1-power)`` (the logarithm at 1).

    Args:
        cosines: [T, T, N].
        gains: [T, N].
        power: Positive.
    """
    eye = torch.eye(len(cosines), dtype=cosines.dtype, device=cosines.device)[..., None]
    cosines = cosines + RIDGE * eye
    y = gains ** (1.0 / (1.0 + power))  # the solution for orthogonal gradients
    for _ in range(STEPS):
        pulls = (cosines * y).sum(1)
        pushes = gains * y ** (1.0 - power) if power != 1 else gains
        slope = y * pulls - pushes
        relative = _solve(cosines * y * y[:, None] + eye * (power * pushes), -slope)
        y = y * (1.0 + relative * _line(cosines, y, relative, pulls, pushes, slope, power))
    return y


def _line(
    cosines: Tensor, y: Tensor, relative: Tensor, pulls: Tensor, pushes: Tensor, slope: Tensor, power: float
) -> Tensor:
    """The step [N] along ``y * relative`` that still goes down: by bisection, after 1 and the longest allowed."""
    change = y * relative
    bend = (change * (cosines * change).sum(1)).sum(0)
    rise = (change * pulls).sum(0)

    def falls(step: Tensor) -> Tensor:
        reached = 1.0 + step * relative
        reached = reached.reciprocal() if power == 1 else reached**-power
        return rise + step * bend <= (pushes * relative * reached).sum(0)

    # The decrement bounds from below how far it goes down (self-concordance).
    low = 1.0 / (1.0 + (-(slope * relative).sum(0)).clamp(min=0.0).sqrt())
    high = (0.99 / (-relative).clamp(min=1e-3).amax(0)).clamp(max=32.0)
    middle = high.clamp(max=1.0)
    low = torch.minimum(low, middle)
    for _ in range(HALVINGS):
        down = falls(middle)
        low, high = torch.where(down, middle, low), torch.where(down, high, middle)
        middle = (low * high).sqrt()
    return low


def _solve(matrix: Tensor, vector: Tensor) -> Tensor:
    """The solution [T, N] of positive definite systems [T, T, N], by elimination."""
    tasks = len(vector)
    if tasks > pivoting.FEW_TASKS:
        # Lengths of 1 on the diagonal: LAPACK's pivots then are those of the angles.
        scale = matrix.diagonal(dim1=0, dim2=1).T.rsqrt()
        systems, right = (matrix * scale * scale[:, None]).permute(2, 0, 1), (vector * scale).T[..., None]
        found = torch.cat([torch.linalg.solve_ex(*piece).result for piece in for_solver(systems, right)])
        return found.squeeze(-1).T * scale
    table = torch.cat([matrix, vector[:, None]], 1)
    for i in range(tasks - 1):
        factors = table[i + 1 :, i] / table[i, i]
        table[i + 1 :, i + 1 :].addcmul_(factors[:, None], table[i, i + 1 :], value=-1.0)
    solution = [table[tasks - 1, tasks] / table[tasks - 1, tasks - 1]]
    for i in reversed(range(tasks - 1)):
        rest = table[i, tasks] - (table[i, i + 1 : tasks] * torch.stack(solution)).sum(0)
        solution.insert(0, rest / table[i, i])
    return torch.stack(solution)
