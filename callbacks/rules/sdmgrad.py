"""SDMGrad: weights that follow the shortest combination step by step, pulled towards a preferred one."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check, numbers, per_task
from mtlzoo.callbacks.rules.base import GramianRule
from mtlzoo.callbacks.rules.linalg.simplex import project_on_simplex
from mtlzoo.callbacks.rules.state import read_state, write_state


class SDMGrad(GramianRule):
    """Direction-oriented multi-objective descent (Xiao, Ban and Ji, NeurIPS 2023), on the Gramian of one batch.

    From the weights of the last call, `n_iter` steps of projected gradient descent with momentum on
    ``|sum_t (w_t + lambda p_t) g_t|^2`` over the simplex, gradients divided by their mean norm; the result is
    ``(w + lambda p) / (1 + lambda)``. The paper takes the two factors of the Gramian from two batches, so that its
    estimate has no bias; this form does not and costs a third.

    Degree 0. Its state is w for every group. Tasks without gradient are left out, and restart from a weight of 0.

    Differs from torchjd (same numbers but for an absolute 1e-8 in its mean squared norm) and from LibMTL, whose default
    lr is 5; both count tasks without gradient in the mean norm and give them weight.

    Args:
        lr: Step size of the weights.
        momentum: Of those steps, within one call.
        n_iter: Number of steps in a call.
        lambda_: Pull towards the preferred combination.
        preference: The preferred combination; 1/T each where None.
    """

    by_group: ClassVar[tuple[str, ...]] = ("weights",)
    weights: Tensor

    def __init__(
        self,
        lr: float = 10.0,
        momentum: float = 0.5,
        n_iter: int = 20,
        lambda_: float = 0.3,
        preference: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        check(self, "lr", lr, "positive and finite", 1e-300 <= lr <= 1e300)
        self.lr = lr
        check(self, "momentum", momentum, "in [0, 1)", 0.0 <= momentum <= 1.0 - 1e-9)
        self.momentum = momentum
        check(self, "n_iter", n_iter, "between 1 and 10000", 1 <= n_iter <= 10_000)
        self.n_iter = n_iter
        check(self, "lambda_", lambda_, "0 or more and finite", 0.0 <= lambda_ <= 1e300)
        self.lambda_ = lambda_
        self.preference = numbers("SDMGrad", "preference", preference)
        self.register_buffer("weights", torch.zeros(0, 0, dtype=torch.float64))

    def allocate(self, groups: int, tasks: int) -> None:
        """Makes room for the weights of so many groups."""
        if self.weights.shape != (groups, tasks):
            self.weights = self.weights.new_full((groups, tasks), 1.0 / tasks)

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """The weights; see the class."""
        tasks = gramian.shape[-1]
        old = read_state(self, self.weights, gramian.shape[:-2], tasks, groups)
        preference = per_task("SDMGrad", "preference", self.preference, gramian, 1.0 / tasks)
        preference = torch.where(active, preference, 0.0)
        w = project_on_simplex(old, active)
        norms = gramian.diagonal(dim1=-2, dim2=-1).clamp(min=0.0).sqrt()
        mean = norms.sum(-1, keepdim=True) / active.sum(-1, keepdim=True).clamp(min=1)
        scaled = gramian / torch.where(mean == 0, 1.0, mean * mean)[..., None]
        velocity = torch.zeros_like(w)
        for _ in range(self.n_iter):
            velocity = self.momentum * velocity + (scaled @ (w + self.lambda_ * preference)[..., None]).squeeze(-1)
            w = project_on_simplex(w - self.lr * velocity, active)
        write_state(self.weights, old, w, groups)
        return (w + self.lambda_ * preference) / (1.0 + self.lambda_)
