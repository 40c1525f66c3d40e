"""MoCo: a moving average of every task's gradient, and weights that follow the shortest combination of them."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check
from mtlzoo.callbacks.rules.base import GradientRule
from mtlzoo.callbacks.rules.linalg.simplex import project_on_simplex


class MoCo(GradientRule):
    """Multi-objective gradients corrected by their averages (Fernando et al., ICLR 2023), over all shared parameters.

    In step k, with ``h_t = L_t g_t / |g_t|``: ``y_t += beta / k**beta_sigma (h_t - y_t)``, then
    ``w = project(w - gamma / k**gamma_sigma (Y Y^T + rho I) w)``; the result is ``sum_t w_t y_t``. Averages begin at 0
    and weights at 1/T. As single batches only enter through averages, their noise gives the weights no bias.

    Its state is Y, T times the shared parameters, beside w and k: in memory (in manual optimisation twice, for a second
    backward call in the same step) and in every checkpoint. Tables count with all their rows, so ``sparse=True`` ones
    are refused. The length of gradients does not matter; the losses' does. A task without gradient lets its average
    fade. Level ``model`` only.

    Differs from LibMTL (the same numbers but for 1e-8 beside the norm): its state is saved. The paper projects onto the
    simplex; LibMTL takes a softmax of what are weights already, which pulls them back to near 1/T in every step.
    torchjd doesn't have it.

    Args:
        beta: Share of the new gradient in the average, in the first step.
        beta_sigma: How fast that share falls.
        gamma: Step size of the weights, in the first step.
        gamma_sigma: How fast that falls.
        rho: Pull of the weights towards each other.
        projection: How weights stay weights: ``simplex`` as in the paper, or ``softmax`` as in LibMTL.
    """

    whole: ClassVar[bool] = True
    needs_losses: ClassVar[bool] = True

    averages: Tensor
    weights: Tensor
    step: Tensor

    def __init__(
        self,
        beta: float = 0.5,
        beta_sigma: float = 0.5,
        gamma: float = 0.1,
        gamma_sigma: float = 0.5,
        rho: float = 0.0,
        projection: Literal["simplex", "softmax"] = "simplex",
    ) -> None:
        super().__init__()
        check(self, "beta", beta, "in (0, 1]", 0.0 < beta <= 1.0)
        for name, value in {"beta_sigma": beta_sigma, "gamma": gamma, "gamma_sigma": gamma_sigma, "rho": rho}.items():
            check(self, name, value, "0 or more and finite", 0.0 <= value <= 1e300)
        check(self, "projection", projection, "'simplex' and 'softmax'", projection in ("simplex", "softmax"))
        self.beta, self.beta_sigma = beta, beta_sigma
        self.gamma, self.gamma_sigma, self.rho = gamma, gamma_sigma, rho
        self.projection = projection
        self.register_buffer("averages", torch.zeros(0, 0))
        self.register_buffer("weights", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def solve(self, gradients: Tensor, *, losses: Tensor | None) -> Tensor:
        """The gradient [d] of gradients [T, d]; see the class."""
        assert losses is not None  # `forward` sees to it
        if not self.averages.numel():
            precision = torch.promote_types(gradients.dtype, torch.float32)
            self.averages = torch.zeros_like(gradients, dtype=precision)
            self.weights = gradients.new_full((len(gradients),), 1.0 / len(gradients), dtype=torch.float64)
        if self.averages.shape != gradients.shape:
            raise ValueError(
                f"MoCo keeps averages of {tuple(self.averages.shape)} [tasks, elements of shared parameters], and now "
                f"got gradients of {tuple(gradients.shape)}. The tasks must share the same parameters in every step; "
                "take a rule without averages, such as SDMGrad, or a new MoCo for another module."
            )
        step = self.step + 1
        norms = torch.linalg.vector_norm(gradients, dim=1, dtype=torch.float64)
        scale = torch.where(norms == 0, 0.0, losses.double() / norms)
        beta = (self.beta / step.double() ** self.beta_sigma).to(self.averages.dtype)
        averages = torch.lerp(self.averages, gradients.to(beta.dtype) * scale.to(beta.dtype)[:, None], beta)
        slopes = (averages @ (self.weights.to(averages.dtype) @ averages)).double() + self.rho * self.weights
        moved = self.weights - self.gamma / step.double() ** self.gamma_sigma * slopes
        everyone = torch.ones_like(moved, dtype=torch.bool)
        weights = project_on_simplex(moved, everyone) if self.projection == "simplex" else moved.softmax(0)
        gradient = weights.to(averages.dtype) @ averages
        # A step that is not finite must not last.
        kept = averages.isfinite().all() & weights.isfinite().all()
        self.averages.copy_(torch.where(kept, averages, self.averages))
        self.weights.copy_(torch.where(kept, weights, self.weights))
        self.step.copy_(torch.where(kept, step, self.step))
        return gradient.to(gradients.dtype)
