"""`GradCraft`: gradients of nearer lengths, each freed from all its conflicts at once."""

import torch
from torch import Tensor
from torch.nn import functional as F

from mtlzoo.callbacks.rules.arguments import check
from mtlzoo.callbacks.rules.base import GramianRule
from mtlzoo.callbacks.rules.linalg.cosines import cosines_of, norms_of
from mtlzoo.callbacks.rules.linalg.eigen import solve_psd
from mtlzoo.callbacks.rules.linalg.pivoting import many, solve_some


class GradCraft(GramianRule):
    """GradCraft (Bai et al., "Elevating Multi-task Recommendations through Holistic Gradient Crafting", KDD 2024).

    1. Lengths: ``h_i = (tau max_j |g_j| / |g_i| + 1 - tau) g_i``.
    2. Directions: with ``C_i = {j: <h_i, h_j> < 0}``, h_i moves in the span of these h_j until
       ``<h_i', h_j> = eps |h_i| |h_j|`` for all of them at once.
    3. The mean of the h_i'. No order matters, unlike in PCGrad; with two tasks and ``eps=0`` step 2 is PCGrad's.

    Needs the Gramian, keeps no state. Multiplying all gradients by c changes no weight; with ``tau=1`` neither does
    the scale of a task change the result's direction. Tasks without gradient take no part, T stays the number of all.
    Where the gradients in C_i depend on each other, the shortest of the best solutions is taken (the authors' code
    inverts, so collinear conflicts are singular there). Opposite gradients cancel, up to eps. Neither torchjd nor
    LibMTL has it. The authors' code also sums instead of averaging the coordinates that only some tasks have; here a
    group's coordinates have one set of weights.

    The paper promises no conflict within C_i only: a pair that had none can have one afterwards. It searched tau in
    {0, 0.1, ..., 1} and eps in {1e-10, 1e-9, 1e-8}, and names no default.

    Args:
        tau: How far all lengths move to the largest.
        eps: Cosine that conflicting pairs end up with.

    Raises:
        ValueError: `tau` outside [0, 1], or `eps` outside [0, 1].
    """

    def __init__(self, tau: float = 0.5, eps: float = 1e-8) -> None:
        super().__init__()
        check(self, "tau", tau, "0 to 1", 0 <= tau <= 1)
        check(self, "eps", eps, "0 to 1", 0 <= eps <= 1)
        self.tau, self.eps = tau, eps

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """Solves one small system per task."""
        cosines, norms = cosines_of(gramian, active), norms_of(gramian, active)
        largest = torch.where(active, norms, 0.0).amax(-1, keepdim=True)
        lengths = torch.where(active, self.tau * largest + (1 - self.tau) * norms, 0.0)
        conflicts = cosines < 0
        added = _solve(cosines, conflicts, torch.where(conflicts, self.eps - cosines, 0.0))
        # In unit gradients: h_i' = |h_i| (u_i + sum_j added_ij u_j).
        units = lengths + (lengths[..., :, None] * added).sum(-2)
        return units / norms / gramian.shape[-1]


REGULAR = 1e-6
"""Pivots above this are of systems that have one solution, the one that `solve_psd` gives."""


def _solve(cosines: Tensor, chosen: Tensor, right: Tensor) -> Tensor:
    """For every task the shortest best solution of the system of some: [..., T, T] each."""
    tasks = cosines.shape[-1]
    if not many(cosines):
        return _solve_dense(cosines[..., None, :, :], chosen, right)
    flat, some, vectors = cosines.reshape(-1, tasks, tasks), chosen.reshape(-1, tasks), right.reshape(-1, 1, tasks)
    owner = torch.arange(len(flat)).repeat_interleave(tasks)
    found, pivots = solve_some(F.pad(flat, (0, 1, 0, 1)), owner, vectors, some)
    added = found.squeeze(1)
    for rest in (~(pivots > REGULAR)).nonzero().squeeze(1).split(tasks):
        added[rest] = _solve_dense(flat[owner[rest]], some[rest], vectors[rest, 0])
    return added.reshape(right.shape)


def _solve_dense(cosines: Tensor, chosen: Tensor, right: Tensor) -> Tensor:
    among = chosen[..., :, None] & chosen[..., None, :]  # [..., i, j, k]
    return solve_psd(torch.where(among, cosines, 0.0), right)
