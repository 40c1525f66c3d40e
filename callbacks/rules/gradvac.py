"""`GradVac`: turns each gradient towards the others until their cosine is what it usually is."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check
from mtlzoo.callbacks.rules.linalg.rounding import EPS, TINY
from mtlzoo.callbacks.rules.orders import OrderedRule
from mtlzoo.callbacks.rules.running import Running, weights_of
from mtlzoo.callbacks.rules.state import read_state, write_state


class GradVac(OrderedRule):
    """Gradient Vaccine (Wang et al., "Gradient Vaccine", ICLR 2021).

    As PCGrad, but the cosine f of the corrected gradient ``c_i J`` and g_j is compared with a target, the moving
    average p_ij of that cosine. Below it, g_j is added until the cosine is p_ij:
    ``c_ij += |c_i J| (p_ij sqrt(1 - f^2) - f sqrt(1 - p_ij^2)) / (|g_j| sqrt(1 - p_ij^2))``; then
    ``p_ij = (1 - beta) p_ij + beta f``. ``w = sum_i c_i``. Targets begin at 0, so the first call with pairs at or
    above 0 changes nothing.

    Needs the Gramian. State: `targets` [groups, T, T], 8 T^2 bytes per group, and the number of draws. Multiplying all
    gradients by c changes no weight. Only pairs of tasks with gradients are corrected and averaged; a gradient that
    the earlier corrections cancelled (opposite gradients) also takes no part any more. A target of 1 can't be reached:
    sqrt(1 - p^2) counts as 1.5e-8 at least. Targets near 1 make large weights, as in the paper.

    torchjd and LibMTL add 1e-8 to the products of norms, so small gradients have wrong cosines there, and average 0
    in for tasks without gradient. LibMTL lets ``1 - f^2`` fall below 0 and returns NaN for opposite gradients.

    Args:
        beta: Weight of the newest cosine in the average.
        order: ``random``: one order of the others per task and call, the same in all groups; ``fixed``: ascending.
        seed: Of the random orders.

    Raises:
        ValueError: `beta` outside [0, 1], or an unknown order.
    """

    by_group: ClassVar[tuple[str, ...]] = ("targets",)
    targets: Tensor

    def __init__(self, beta: float = 0.5, order: Literal["random", "fixed"] = "random", seed: int = 0) -> None:
        super().__init__(order, seed, ("random", "fixed"))
        check(self, "beta", beta, "0 to 1", 0 <= beta <= 1)
        self.beta = beta
        self.register_buffer("targets", torch.empty(0, dtype=torch.float64))

    def allocate(self, groups: int, tasks: int) -> None:
        """Targets of 0."""
        if self.targets.shape != (groups, tasks, tasks):
            self.targets = self.targets.new_zeros(groups, tasks, tasks)

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """Corrects in the order of this call, and moves the targets."""
        targets = read_state(self, self.targets, gramian.shape[:-2], gramian.shape[-1], groups)
        orders = self._orders(gramian.shape[-1], gramian.device)
        weights, moved = vaccinate(gramian, active, targets, orders, self.beta)
        write_state(self.targets, targets, moved, groups)
        return weights


def vaccinate(gramian: Tensor, active: Tensor, targets: Tensor, orders: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Weights and new targets of GradVac in given orders.

    Args:
        gramian: [..., T, T].
        active: [..., T], which gradients are not zero.
        targets: [..., T, T].
        orders: int64 [T, K]: in row i the tasks that task i is compared with, in turn.
        beta: Of the average.

    Returns:
        [..., T] and [..., T, T].
    """
    shape, tasks = gramian.shape, gramian.shape[-1]
    gramian, active = gramian.reshape(-1, tasks, tasks), active.reshape(-1, tasks)
    running = Running(gramian, orders)
    places = (orders + tasks * torch.arange(tasks, device=gramian.device)[:, None]).T.flatten()
    targets = targets.reshape(-1, tasks * tasks)
    target = targets[:, places].unflatten(1, orders.T.shape).transpose(0, 1).contiguous()  # [K, n, T], as what follows
    sine = (1 - target.square()).clamp_min(0.0).sqrt()
    norms = gramian.diagonal(dim1=-2, dim2=-1).clamp_min(TINY).sqrt()
    lengths = norms[:, orders.T].transpose(0, 1).contiguous()
    # The step is |c_i J| (up sqrt(1 - f^2) - down f).
    up, down = (part / (lengths * sine.clamp_min(EPS**0.5)) for part in (target, sine))
    both = active & active[:, orders.T].transpose(0, 1)
    squares, parts = norms.square(), norms
    cosines, factors = torch.empty_like(target), gramian.new_empty(*orders.T.shape, len(gramian))
    for number in range(len(factors)):
        # What is left of a gradient that was cancelled is the rounding of its parts.
        alive = both[number] & (squares > 256 * tasks * EPS * parts.square())
        norm, length, inner = torch.where(alive, squares, 1.0).sqrt(), lengths[number], running.inner(number)
        cosine = (inner / norm / length).clamp(-1.0, 1.0)
        step = norm * (up[number] * (1 - cosine.square()).sqrt() - down[number] * cosine)
        step = torch.where(alive & (cosine < target[number]), step, 0.0)
        running.add(number, step)
        squares = squares + step * (2 * inner + step * length.square())
        parts = parts + step * length
        cosines[number] = torch.where(alive, cosine, target[number])
        factors[number] = step.T
    moved = targets.index_copy(1, places, target.lerp_(cosines, beta).transpose(0, 1).flatten(1))
    return weights_of(factors, orders, tasks).reshape(shape[:-1]), moved.reshape(shape)
