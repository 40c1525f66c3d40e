"""`GradVac`: turns each gradient towards the others until their cosine is what it usually is."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.common import EPS, TINY, check, read_state, write_state
from mtlzoo.callbacks.rules.orders import OrderedRule


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
    tasks = gramian.shape[-1]
    norms = gramian.diagonal(dim1=-2, dim2=-1).clamp_min(TINY).sqrt()
    eye = torch.eye(tasks, dtype=gramian.dtype, device=gramian.device)
    coefficients, products = eye.expand_as(gramian), gramian
    own = torch.arange(tasks, device=gramian.device)
    for other in orders.unbind(-1):
        square = (coefficients * products).sum(-1)
        # What is left of a gradient that was cancelled is the rounding of its parts.
        parts = (coefficients.abs() * norms[..., None, :]).sum(-1)
        alive = active & active[..., other] & (square > 256 * tasks * EPS * parts.square())
        norm = torch.where(alive, square, 1.0).sqrt()
        cosine = (products[..., own, other] / norm / norms[..., other]).clamp(-1.0, 1.0)
        target = targets[..., own, other]
        sine, target_sine = (1 - cosine.square()).sqrt(), (1 - target.square()).clamp_min(0.0).sqrt()
        step = norm * (target * sine - cosine * target_sine) / (norms[..., other] * target_sine.clamp_min(EPS**0.5))
        step = torch.where(alive & (cosine < target), step, 0.0)
        coefficients = torch.addcmul(coefficients, step[..., None], eye[other])
        products = torch.addcmul(products, step[..., None], gramian[..., other, :])
        moved = torch.where(alive, (1 - beta) * target + beta * cosine, target)
        targets = torch.where(eye[other] != 0, moved[..., None], targets)
    return coefficients.sum(-2), targets
