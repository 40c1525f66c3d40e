"""CAGrad: the direction near the mean gradient along which the worst task improves most."""

from typing import Literal

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check
from mtlzoo.callbacks.rules.base import GramianRule
from mtlzoo.callbacks.rules.linalg.active_set import sweep, swept
from mtlzoo.callbacks.rules.linalg.chunks import by_chunks
from mtlzoo.callbacks.rules.linalg.cosines import poison, unit
from mtlzoo.callbacks.rules.linalg.pivoting import many, pivot
from mtlzoo.callbacks.rules.linalg.qp import above
from mtlzoo.callbacks.rules.linalg.rounding import EPS, noise

Rescale = Literal["none", "1+c", "1+c^2"]


class CAGrad(GramianRule):
    """Conflict-averse gradient descent (Liu et al., NeurIPS 2021).

    ``d = argmax { min_t <g_t, d> : |d - g_0| <= c |g_0| }`` with the mean ``g_0 = sum_t g_t / T``, that is
    ``d = g_0 + c |g_0| g_w / |g_w|`` with ``w = argmin g_w'g_0 + c |g_0| |g_w|`` over the simplex and
    ``g_w = sum_t w_t g_t``. Solved exactly: on each set of tasks the minimum has a closed form, and an active-set
    method finds the set.

    Degree 0 and without state. Tasks without gradient have no say in the minimum (in torchjd one of them makes the
    update zero); the mean stays over all T.

    Where the minimum is at ``g_w = 0`` (the tasks are Pareto stationary, as with opposite gradients), the formula is
    0/0 and the definition has several answers: all ``d`` within the radius that oppose no task. This gives the one
    nearest to ``g_0``, its projection on the dual cone (`DualProj`): scale-free, and 0 only where nothing else opposes
    nobody or ``g_0`` is 0. Rounding of the Gramian decides what is 0: ``|g_w|`` below 1e-7 of ``sum_t w_t |g_t|``.

    Differs from torchjd: no absolute threshold, below which torchjd returns zero, and no zero at stationary points.
    LibMTL's default rescale is "1+c^2" here ("1+c" its 2); its own solver is stuck at the mean for gradients much
    larger or smaller than 1.

    Args:
        c: Radius around the mean, relative to its norm; 0 is the mean, 1 and above make it MGDA-like.
        rescale: What the result is divided by.
    """

    def __init__(self, c: float = 0.5, rescale: Rescale = "none") -> None:
        super().__init__()
        check(self, "c", c, "at least 0 (the paper takes less than 1)", 0.0 <= c <= 1e6)
        self.c = c
        divisors = {"none": 1.0, "1+c": 1.0 + c, "1+c^2": 1.0 + c * c}
        if rescale not in divisors:
            raise ValueError(f"CAGrad: rescale is one of {', '.join(divisors)}, not {rescale!r}.")
        self.rescale = rescale
        self._divisor = divisors[rescale]

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """The weights; see the class."""
        tasks = gramian.shape[-1]
        mean = torch.full_like(gramian[..., 0], 1.0 / tasks)
        if self.c == 0:
            return (mean + poison(gramian)) / self._divisor
        cosines, norms = unit(gramian, active)
        products = gramian.mean(-1)
        length = products.mean(-1, keepdim=True).clamp(min=0.0).sqrt()
        toward = products / (norms * torch.where(length == 0, 1.0, length))
        toward = torch.where(active, toward.clamp(-1.0, 1.0), 0.0)
        shortest = torch.where(active, norms, torch.inf).amin(-1, keepdim=True)
        inverse = torch.where(active, shortest / norms, 0.0)
        matrix = cosines + inverse[..., :, None] * inverse[..., None, :]
        # The projection of the mean on the dual cone is the answer where stationary tasks leave it within the radius.
        # Where it is beyond, its way from the mean is a start that is already below those stationary points.
        projected = above(gramian, active, mean[..., None, :]).squeeze(-2)
        way = torch.where(active, projected - mean, 0.0) * norms
        beyond = (way * (cosines @ way[..., None]).squeeze(-1)).sum(-1, keepdim=True) > (self.c * length) ** 2
        total = (way * inverse).sum(-1, keepdim=True)
        first = active & (inverse == 1.0)
        first = first & (first.cumsum(-1) == 1)
        start = torch.where(beyond & (total > 0), way / torch.where(total > 0, total, 1.0), first.double())

        x = self._found(matrix, inverse, toward, start)
        squared = (x * (cosines @ x[..., None]).squeeze(-1)).sum(-1, keepdim=True)
        size = x.abs().sum(-1, keepdim=True)
        stationary = squared <= 64 * tasks * EPS * size * size
        raised = x / norms * self.c * length / torch.where(stationary, 1.0, squared).sqrt()
        return torch.where(stationary, projected, mean + raised + poison(gramian)) / self._divisor

    def _found(self, matrix: Tensor, inverse: Tensor, toward: Tensor, start: Tensor) -> Tensor:
        """The minimum [..., T]; arguments as those of `_minimum`, groups first."""
        if not many(matrix):
            return by_chunks(self._minimum, matrix, inverse, toward, start)
        tasks = matrix.shape[-1]
        flat = matrix.reshape(-1, tasks, tasks)
        rows = [vector.reshape(-1, tasks) for vector in (inverse, toward, start)]
        vectors, above_zero = torch.stack(rows[:2], 1)[:, None], rows[2][:, None] > 0
        x, solved = (part.squeeze(1) for part in pivot(flat, vectors, above_zero, self._judge))
        rest = (~solved).nonzero().squeeze(1)
        x[rest] = by_chunks(self._minimum, flat[rest], *(row[rest] for row in rows))
        return x.reshape(inverse.shape)

    def _judge(self, values: Tensor, left: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For `pivot`; where g_w is nearly 0 the function has a kink, which the walk alone knows."""
        (a, b), (inverse, toward) = values.permute(1, 2, 0), vectors.permute(1, 2, 0)
        stage = _Stage(a, b, inverse, toward, self.c)
        far = self.c * stage.ratio > 1e-4 * stage.minimum.abs().sum(0)
        # Where it has no minimum, those go out that its way down without end makes smaller.
        x = torch.where(stage.bounded, stage.minimum, stage.drift)
        return x.T, (stage.slope(*left.permute(1, 2, 0)) > 0).T, stage.bounded & far

    def _minimum(self, matrix: Tensor, inverse: Tensor, toward: Tensor, start: Tensor) -> Tensor:
        """Minimises ``h'x + c sqrt(x'Cx)`` over ``p'x = 1``, ``x >= 0``: the walk of `linalg.active_set`.

        Args:
            matrix: [T, T, N], ``C + pp'`` (regular where opposite gradients make C singular).
            inverse: [T, N], p: the smallest norm divided by the norms, 0 for inactive tasks.
            toward: [T, N], h: cosines with the mean.
            start: [T, N], a feasible x.
        """
        tasks = len(matrix)
        x, passive = start, start > 0
        for turns in (2 * tasks + 2, tasks + 2):
            table, passive = swept(matrix, [inverse, toward], passive)
            x, passive = self._walk(table, torch.where(passive, x, 0.0), passive, inverse, toward, turns)
        return x

    def _walk(
        self, table: Tensor, x: Tensor, passive: Tensor, inverse: Tensor, toward: Tensor, turns: int
    ) -> tuple[Tensor, Tensor]:
        tasks, asks = len(x), many(table[:, : len(x)].permute(2, 0, 1))
        places = torch.arange(tasks, device=x.device)[:, None]
        schur = table.diagonal(dim1=0, dim2=1).T
        for turn in range(turns + 1):
            a, b = torch.where(passive[:, None], table[:, tasks:], 0.0).unbind(1)
            stage = _Stage(a, b, inverse, toward, self.c)
            bounded = stage.bounded
            direction = torch.where(bounded, stage.minimum - x, stage.drift)
            # Towards that minimum, or down without end, until a weight would be negative: that one leaves.
            falls = passive & (direction < 0) & (bounded.logical_not() | (x + direction < 0))
            step, leaving = torch.where(falls, -x / direction, torch.inf).min(0)
            leave = torch.isfinite(step)
            step = torch.where(leave, step, torch.where(bounded, 1.0, 0.0))
            moved = (x + step * direction).clamp(min=0.0)
            # The task outside along which it falls most steeply comes in.
            slope = stage.slope(*torch.where(passive[:, None], 0.0, table[:, tasks:]).unbind(1))
            fit = (slope > 0) & (schur > noise(tasks))
            best, entering = torch.where(fit, slope * slope / schur, 0.0).max(0)
            go = leave | (best > 0)
            if turn == turns or (asks and not go.any()):
                return torch.where(passive, moved, 0.0), passive
            index = torch.where(leave, leaving, entering)
            passive = passive ^ ((places == index) & go)
            x = torch.where(passive, moved, 0.0)
            sweep(table, index, go, torch.where(leave, -1.0, 1.0))
        raise AssertionError  # the loop returns


class _Stage:
    """What CAGrad's function is on the tasks above zero: its minimum there, and how it falls along the others.

    Args:
        a: [T, N], ``inv(Q_PP) p``, and 0 outside.
        b: [T, N], ``inv(Q_PP) h``.
        inverse: [T, N], p.
        toward: [T, N], h.
        c: Radius.
    """

    def __init__(self, a: Tensor, b: Tensor, inverse: Tensor, toward: Tensor, c: float) -> None:
        self.a, self.b, self.inverse = a, b, inverse
        one, both, square = (inverse * a).sum(0), (inverse * b).sum(0), (toward * b).sum(0)
        one = torch.where(one > 0, one, 1.0)
        curvature = both * both + one * (c**2 - square)
        self.one, self.both = one, both
        self.bounded = curvature > noise(len(a)) * (both * both + one * (c**2 + square.abs()))
        # |g_w| / c. With g_w = 0 within reach, a'p is 1 and the minimum is a.
        self.ratio = ((1.0 - one).clamp(min=0.0) / torch.where(self.bounded, curvature, 1.0)).sqrt()
        self.drift = both / one * a - b
        self.minimum = a / one + self.drift * self.ratio

    def slope(self, p: Tensor, h: Tensor) -> Tensor:
        """The derivative down along every task, times the ratio, where it is more than rounding; else 0.

        Args:
            p: [T, N], what a leaves of p.
            h: [T, N], what b leaves of h.
        """
        one, ratio = self.one, self.ratio
        slope = p * ((1.0 + self.both * ratio) / one) - ratio * h
        rounding = (self.inverse + self.a.abs().sum(0)) * (1.0 + self.both.abs() * ratio) / one
        rounding = rounding + ratio * (1.0 + self.b.abs().sum(0))
        falls = self.bounded & (slope > noise(len(p)) * rounding) & (self.inverse > 0)
        return torch.where(falls, slope, 0.0)
