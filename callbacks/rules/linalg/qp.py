"""Exact quadratic programs of T variables, many at once: pure torch in float64, no transfer to the host.

Both problems of the rules, the shortest combination of gradients in the simplex and the shortest above lower bounds,
are one problem, which `linalg.active_set` solves. How far from the optimum its point may be, `simplex_gap` and
`bound_gap` tell.

Gradients are divided by their norms first: tasks whose norms lie 1e12 apart are as exact as equal ones. What is below
the rounding of the Gramian itself, 1e-16 of ``|g_s| |g_t|``, counts as zero.
"""

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.linalg.active_set import nonnegative
from mtlzoo.callbacks.rules.linalg.cosines import poison, unit
from mtlzoo.callbacks.rules.linalg.rounding import EPS


def min_norm(gramian: Tensor, active: Tensor, norms: Tensor | None = None) -> Tensor:
    """The convex combination of the active gradients that is shortest: ``min w'Gw``, w in the simplex.

    The vector is unique; the weights are where the gradients that take part are independent.

    Args:
        gramian: [..., T, T].
        active: [..., T]; the others get 0. No active task at all: all 0.
        norms: [..., T]: take gradients of these norms and the Gramian's directions instead of its own.

    Returns:
        [..., T].
    """
    cosines, own = unit(gramian, active)
    norms = own if norms is None else norms
    shortest = torch.where(active, norms, torch.inf).amin(-1, keepdim=True)
    inverse = torch.where(active, shortest / norms, 0.0)
    # With x = s w: min s^2 (w'Gw + 1) / 2 - s = -1 / (2 (1 + w'Gw)). Opposite gradients do not make this singular.
    x = nonnegative(cosines + inverse[..., :, None] * inverse[..., None, :], inverse[..., None, :])
    weights = x.squeeze(-2) * inverse
    total = weights.sum(-1, keepdim=True)
    return weights / torch.where(total == 0, 1.0, total) + poison(gramian)


def above(gramian: Tensor, active: Tensor, bounds: Tensor) -> Tensor:
    """The shortest combination whose weights are at least the bounds: ``min v'Gv``, ``v >= u``.

    It is the vector nearest to ``sum_t u_t g_t`` that opposes no gradient, its projection on the dual cone, hence
    unique; the weights are where the raised gradients are independent.

    Args:
        gramian: [..., T, T].
        active: [..., T]; the others keep their bound.
        bounds: [..., K, T]: K problems of the same gradients.

    Returns:
        [..., K, T].
    """
    cosines, norms = unit(gramian, active)
    lengths = torch.where(active[..., None, :], bounds * norms[..., None, :], 0.0)
    largest = lengths.abs().amax(-1, keepdim=True)
    largest = torch.where(largest == 0, 1.0, largest)
    lengths = lengths / largest
    masked = torch.where(active[..., None, :], lengths @ cosines, 0.0)
    raised = nonnegative(cosines, -masked)
    return bounds + raised * largest / norms[..., None, :] + poison(gramian)[..., None]


def simplex_gap(gramian: Tensor, weights: Tensor) -> Tensor:
    """How far ``w'Gw`` is above its minimum over the simplex of the tasks with gradient at most, by duality: [...].

    A product of a long gradient with a short combination has a rounding far above the combination's square; each
    product counts as larger by its rounding.
    """
    products = (gramian @ weights[..., None]).squeeze(-1)
    norms = gramian.diagonal(dim1=-2, dim2=-1).sqrt()
    rounding = 8 * gramian.shape[-1] * EPS * norms * (weights * norms).sum(-1, keepdim=True)
    least = torch.where(norms > 0, products + rounding, torch.inf).amin(-1)
    square = (weights * products).sum(-1)
    return (2.0 * (square - least.where(least.isfinite(), 0.0))).clamp(min=0.0)


def bound_gap(gramian: Tensor, bounds: Tensor, weights: Tensor) -> Tensor:
    """How far ``v'Gv`` is above its minimum over ``v >= u`` at most: [...].

    Exact duality where the combination opposes no gradient. Where it does, by rounding, the bound is over those v whose
    ``|g_t| (v_t - u_t)`` are at most the sum of ``|g_t| v_t`` of these weights.
    """
    products = (gramian @ weights[..., None]).squeeze(-1)
    norms = gramian.diagonal(dim1=-2, dim2=-1).sqrt()
    reach = (weights.abs() * norms).sum(-1, keepdim=True) / torch.where(norms == 0, 1.0, norms)
    slack = ((weights - bounds) * products).sum(-1)
    gap = 2.0 * (slack + (products.clamp(max=0.0).neg() * reach).sum(-1))
    return torch.minimum(gap, (weights * products).sum(-1)).clamp(min=0.0)
