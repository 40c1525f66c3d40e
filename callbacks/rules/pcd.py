"""PCD: the main task's gradient, moved only as far as every other task needs for a little progress."""

from typing import ClassVar

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check, task_number
from mtlzoo.callbacks.rules.base import GramianRule
from mtlzoo.callbacks.rules.linalg.active_set import nonnegative
from mtlzoo.callbacks.rules.linalg.cosines import poison, unit
from mtlzoo.callbacks.rules.linalg.qp import min_norm
from mtlzoo.callbacks.rules.linalg.rounding import EPS
from mtlzoo.callbacks.rules.state import read_state, write_state


class PCD(GramianRule):
    """Priority-constrained descent (TMLR 2026, arXiv 2606.29521), for one main task and others that must not suffer.

    With ``h_t = g_t / sqrt(v_t)``, ``v_t`` the moving average of ``|g_t|^2`` (bias corrected), it finds the vector
    nearest to the main task's ``h_0`` with ``<h_t, d> >= tau |h_t|^2`` for all others and gives it the norm of
    ``g_0``.

    Scale-free: if every Gramian is c times as large, the weights are the same. Its state are the averages of every
    group, and how often each group was seen (rows of a table are not seen in every batch). Tasks without gradient are
    left out, and their average rests. No main gradient: 0, which is the limit of small ones. Demands that cannot be met
    together (others that oppose one another): the main gradient itself, as in torchjd.

    Differs from torchjd: no absolute 1e-8 beside the averages, any task can be the main one, tasks without gradient
    do not lower their average.

    Args:
        main_task: Number (or name, where the callback runs the rule) of the main task.
        tau: Share of its own progress that each other task is granted.
        beta: Decay of the averages.
    """

    degree = None
    by_group: ClassVar[tuple[str, ...]] = ("squares", "seen")
    squares: Tensor
    seen: Tensor

    def __init__(self, main_task: int | str = 0, tau: float = 0.02, beta: float = 0.999) -> None:
        super().__init__()
        self.main_task = main_task
        check(self, "tau", tau, "in [0, 1]", 0.0 <= tau <= 1.0)
        self.tau = tau
        check(self, "beta", beta, "in [0, 1)", 0.0 <= beta <= 1.0 - 1e-12)
        self.beta = beta
        self.register_buffer("squares", torch.zeros(0, 0, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros(0, 0, dtype=torch.int64))

    def allocate(self, groups: int, tasks: int) -> None:
        """Makes room for the averages of so many groups."""
        if self.squares.shape != (groups, tasks):
            self.squares = self.squares.new_zeros(groups, tasks)
            self.seen = self.seen.new_zeros(groups, tasks)

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """The weights; see the class."""
        tasks = gramian.shape[-1]
        main = task_number("PCD", self.main_task, tasks)
        cosines, norms = unit(gramian, active)
        # Norms of the h_t, relative to the main one's (only these ratios matter); 1 where a group is new.
        lengths = norms / torch.where(active, self._averages(norms, active, groups), 1.0)
        lengths = lengths / lengths[..., main, None]

        others = torch.arange(tasks, device=gramian.device) != main
        taking = active & others & active[..., main, None]
        both = taking[..., :, None] & taking[..., None, :]
        matrix = torch.where(both | torch.eye(tasks, dtype=torch.bool, device=gramian.device), cosines, 0.0)
        # In multiples m_t of the unit gradients, d = u_0 + sum m_t u_t: min |d|^2 / 2 - tau sum_t m_t |h_t|.
        wanted = torch.where(taking, self.tau * lengths - cosines[..., main], 0.0)
        # Not to be met if the unit gradients have a convex combination of 0 (then the multiples have no bound).
        hull = min_norm(matrix, taking, torch.ones_like(norms))
        squared = (hull * (matrix @ hull[..., None]).squeeze(-1)).sum(-1, keepdim=True)
        possible = (squared > 64 * tasks * EPS) | (self.tau == 0) | ~taking.any(-1, keepdim=True)
        size = wanted.abs().amax(-1, keepdim=True).clamp(min=1.0)
        multiples = nonnegative(matrix, (torch.where(possible, wanted, 0.0) / size)[..., None, :]).squeeze(-2) * size
        direction = torch.where(others, multiples, 1.0)
        product = (direction * (cosines @ direction[..., None]).squeeze(-1)).sum(-1, keepdim=True)
        still = product <= 64 * tasks * EPS * direction.abs().sum(-1, keepdim=True) ** 2
        factor = torch.where(still, 0.0, norms[..., main, None] / torch.where(still, 1.0, product).sqrt())
        weights = direction * factor / norms
        return torch.where(active[..., main, None], weights, 0.0) + poison(gramian)

    def _averages(self, norms: Tensor, active: Tensor, groups: Tensor | None) -> Tensor:
        """Moves the averages of |g_t|^2 on and returns their square roots."""
        old, count = (
            read_state(self, state, norms.shape[:-1], norms.shape[-1], groups) for state in (self.squares, self.seen)
        )
        take = active & torch.isfinite(norms)
        new = torch.where(take, self.beta * old + (1.0 - self.beta) * norms * norms, old)
        write_state(self.squares, old, new, groups)
        write_state(self.seen, count, count + take, groups)
        share = -torch.expm1((count + take) * torch.log(torch.full_like(new, self.beta)))  # 1 - beta^count
        mean = new / torch.where(share == 0, 1.0, share)
        return torch.where(mean == 0, 1.0, mean).sqrt()
