"""The programs against optimality conditions, duality and enumeration, on random and on adverse Gramians."""

from itertools import combinations

import pytest
import torch
from jacobians import F64, Gramians, lengths, norms, products, quadratic, shortest
from torch import Tensor

from mtlzoo.callbacks.rules.linalg.qp import above, bound_gap, min_norm, simplex_gap


def supports(tasks: int, fewest: int) -> list[list[int]]:
    return [list(s) for count in range(fewest, tasks + 1) for s in combinations(range(tasks), count)]


def inverted(matrices: Tensor, there: Tensor) -> Tensor:
    """Pseudo-inverses, of the identity where a task has no gradient."""
    matrices = torch.where(there[..., None, None], matrices, torch.eye(matrices.shape[-1], dtype=F64))
    found: Tensor = torch.linalg.pinv(matrices, rtol=1e-13, hermitian=True)
    return found


def enumerated_min_norm(g: Tensor, active: Tensor) -> Tensor:
    """The minimum over all supports, by least squares on each."""
    best, lengths = shortest(g, active), torch.where(active, norms(g), 1.0)
    unit = torch.where(active, lengths, torch.inf).amin(-1, keepdim=True)
    for s in supports(g.shape[-1], 2):
        there = active[..., s].all(-1)
        part, inverse = g[..., s, :][..., s], torch.where(there[..., None], unit / lengths[..., s], 1.0)
        cosines = part / (lengths[..., s, None] * lengths[..., None, s])
        x = products(inverted(cosines + inverse[..., None] * inverse[..., None, :], there), inverse)
        total = (x * inverse).sum(-1)
        fit = there & (total > 0) & (x > -1e-9 * x.abs().amax(-1, keepdim=True)).all(-1)
        w = x.clamp(min=0) * inverse
        w = w / torch.where(fit, w.sum(-1), 1.0)[..., None]
        best = torch.where(fit, torch.minimum(best, quadratic(part, w)), best)
    return best


def enumerated_above(g: Tensor, bounds: Tensor, active: Tensor) -> Tensor:
    """The minimum over all sets of raised weights; g and active have the problems' dimension, too."""
    lengths = torch.where(active, norms(g), 1.0)
    cosines, start = g / (lengths[..., None] * lengths[..., None, :]), bounds * lengths
    best = quadratic(cosines, start)
    for s in supports(g.shape[-1], 1):
        there = active[..., s].all(-1)
        x = -products(inverted(cosines[..., s, :][..., s], there), products(cosines[..., s, :], start))
        v = start.clone()
        v[..., s] += x
        fit = there & (x >= 0).all(-1)
        best = torch.where(fit, torch.minimum(best, quadratic(cosines, v)), best)
    return best


@pytest.mark.parametrize("tasks", [2, 3, 5, 8, 16])
def test_min_norm_is_optimal_by_duality(tasks: int) -> None:
    case = Gramians(tasks)
    g, active = case.g, case.active
    w = min_norm(g, active)
    case.hold(w >= 0)
    some = active.any(-1)
    case.hold((w.sum(-1) - some.double()).abs() <= 2e-7 * some)
    scale = torch.where(some, shortest(g, active), 0.0)
    case.hold(simplex_gap(g, w) <= 1e-9 * quadratic(g, w) + 2e-12 * scale)


@pytest.mark.parametrize("tasks", [2, 3, 4])
def test_min_norm_against_all_supports(tasks: int) -> None:
    case = Gramians(tasks, groups=16)
    g, active = case.g, case.active
    best = enumerated_min_norm(g, active)
    off = (quadratic(g, min_norm(g, active)) - best).abs()
    case.hold((off <= 1e-9 * best + 1e-13 * shortest(g, active)) | ~active.any(-1))


@pytest.mark.parametrize("tasks", [2, 3, 5, 8, 16])
def test_above_is_optimal(tasks: int) -> None:
    case = Gramians(tasks)
    g, bounds = case.g, torch.eye(tasks, dtype=F64).expand_as(case.g)
    v = above(g, case.active, bounds)
    case.hold(v >= bounds)
    each = g[..., None, :, :].expand(*v.shape, tasks)
    product, rounding = products(each, v), lengths(each, v)
    # No conflict. Where the vector itself is rounding of long terms, its products are so, too.
    vector = quadratic(each, v).clamp(min=0).sqrt()
    noise = 1e-13 * rounding + torch.where(vector < 1e-6 * rounding, vector, 1e-7 * vector)
    case.hold(product >= -norms(g)[..., None, :] * noise[..., None])
    raised = ((v - bounds) * product).sum(-1)
    case.hold(raised.abs() <= 1e-9 * quadratic(each, v) + 1e-14 * rounding**2 + rounding * noise)
    start = quadratic(each, bounds)
    case.hold(quadratic(each, v) <= start * (1 + 1e-12) + 1e-15 * rounding**2)
    case.hold(bound_gap(each, bounds, v) >= 0)


@pytest.mark.parametrize("tasks", [3, 8, 16])
def test_bound_gap_certifies(tasks: int) -> None:
    rows = torch.randn(256, tasks, tasks + 4, dtype=F64)
    g, bounds = rows @ rows.mT, torch.full((256, tasks), 1 / tasks, dtype=F64)
    v = above(g, torch.ones_like(bounds, dtype=torch.bool), bounds[:, None]).squeeze(1)
    scale = quadratic(g, bounds)
    assert (bound_gap(g, bounds, v) <= 1e-12 * scale).all()
    assert (bound_gap(g, bounds, bounds)[(v != bounds).any(-1)] > 0).all()


@pytest.mark.parametrize("tasks", [2, 3, 4])
def test_above_against_all_supports(tasks: int) -> None:
    case = Gramians(tasks, groups=8)
    bounds = torch.cat([torch.eye(tasks, dtype=F64), torch.full((1, tasks), 1 / tasks, dtype=F64)])
    bounds = bounds.expand(*case.g.shape[:2], -1, -1)
    v = above(case.g, case.active, bounds)
    each = case.g[..., None, :, :].expand(*v.shape, tasks)
    best = enumerated_above(each, bounds, case.active[..., None, :].expand_as(v))
    tolerance = 1e-9 * best + 1e-12 * quadratic(each, bounds) + 1e-15 * lengths(each, v) ** 2
    case.hold((quadratic(each, v) - best).abs() <= tolerance)
