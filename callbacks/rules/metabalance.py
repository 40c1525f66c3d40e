"""`MetaBalance`: auxiliary gradients as long as the main task's, or nearly."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check, task_number
from mtlzoo.callbacks.rules.base import GramianRule
from mtlzoo.callbacks.rules.state import read_state, write_state


class MetaBalance(GramianRule):
    """MetaBalance (He et al., "Improving Multi-Task Recommendations via Adapting Gradient Magnitudes", WWW 2022).

    ``m_t = beta m_t + (1 - beta) |g_t|`` per group (the paper: per parameter) and
    ``w_t = relax m_0 / m_t + 1 - relax``, 0 being the main task, whose weight is 1. ``relax=0`` is the plain sum,
    ``relax=1`` gives every auxiliary gradient the main one's average length. Directions stay.

    Needs the squared norms. State: the averages `averages` and how much went into them, `masses`, both [groups, T]: 16
    bytes per group and task. It sees the Gramian as it is: weights depend on how norms move over time. A task without
    gradient keeps its average, and the averages are divided by 1 - beta^updates, so a task that is seen seldom is
    compared by its own typical norm; in the paper's ratio this factor cancels. Where the main task never had a
    gradient its average is 0, and auxiliary weights are ``1 - relax``, the paper's formula with m_0 = 0
    (1 with strategy ``enlarge``).

    The authors' code stops at a group's first parameter without gradient, refuses sparse gradients, divides by an
    average of 0 (NaN) and keeps the averages out of `state_dict`. torchjd and LibMTL don't have it.

    Args:
        main_task: Number of the main task, or its name, for the callback to replace.
        relax: How far lengths move, 0 to 1.
        beta: Of the averages, 0 <= beta < 1.
        strategy: ``reduce`` only shortens auxiliary gradients, ``enlarge`` only lengthens them.

    Raises:
        ValueError: An argument outside of what is allowed; in the call, a main task that is not there or still a name.
    """

    degree = None
    by_group: ClassVar[tuple[str, ...]] = ("averages", "masses")
    averages: Tensor
    masses: Tensor

    def __init__(
        self,
        main_task: int | str = 0,
        relax: float = 0.7,
        beta: float = 0.9,
        strategy: Literal["both", "reduce", "enlarge"] = "both",
    ) -> None:
        super().__init__()
        check(self, "relax", relax, "0 to 1", 0 <= relax <= 1)
        check(self, "beta", beta, "0 to below 1", 0 <= beta < 1)
        check(self, "strategy", strategy, "both, reduce, enlarge", strategy in ("both", "reduce", "enlarge"))
        check(self, "main_task", main_task, "a number from 0, or a name", isinstance(main_task, str) or main_task >= 0)
        self.main_task = main_task
        self.relax, self.beta, self.strategy = relax, beta, strategy
        self.register_buffer("averages", torch.empty(0, dtype=torch.float64))
        self.register_buffer("masses", torch.empty(0, dtype=torch.float64))

    def allocate(self, groups: int, tasks: int) -> None:
        """Averages of nothing."""
        if self.averages.shape != (groups, tasks):
            self.averages = self.averages.new_zeros(groups, tasks)
            self.masses = self.masses.new_zeros(groups, tasks)

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """Moves the averages, then compares them."""
        tasks = gramian.shape[-1]
        main = task_number("MetaBalance", self.main_task, tasks)
        old_average = read_state(self, self.averages, gramian.shape[:-2], tasks, groups)
        old_mass = read_state(self, self.masses, gramian.shape[:-2], tasks, groups)
        norms = gramian.diagonal(dim1=-2, dim2=-1).sqrt()
        average = torch.where(active, self.beta * old_average + (1 - self.beta) * norms, old_average)
        mass = torch.where(active & norms.isfinite(), self.beta * old_mass + (1 - self.beta), old_mass)
        write_state(self.averages, old_average, average, groups)
        write_state(self.masses, old_mass, mass, groups)
        typical = average / torch.where(mass > 0, mass, 1.0)
        ratio = typical[..., main, None] / torch.where(active, typical, 1.0)
        if self.strategy == "reduce":
            ratio = ratio.clamp_max(1.0)
        elif self.strategy == "enlarge":
            ratio = ratio.clamp_min(1.0)
        weights = self.relax * ratio + (1 - self.relax)
        return torch.where(torch.arange(tasks, device=gramian.device) == main, 1.0, weights)
