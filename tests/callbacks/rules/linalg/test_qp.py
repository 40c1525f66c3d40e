"""The solvers against optimality conditions, duality and enumeration, on random and on adverse Gramians."""

from collections.abc import Iterator
from itertools import combinations

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mtlzoo.callbacks.rules.cagrad import CAGrad
from mtlzoo.callbacks.rules.dualproj import DualProj
from mtlzoo.callbacks.rules.fairgrad import FairGrad
from mtlzoo.callbacks.rules.linalg.newton import fair_weights
from mtlzoo.callbacks.rules.linalg.qp import above, bound_gap, min_norm, simplex_gap
from mtlzoo.callbacks.rules.mgda import MGDA
from mtlzoo.callbacks.rules.nash_mtl import NashMTL
from mtlzoo.callbacks.rules.upgrad import UPGrad

GROUPS = 64
F64 = torch.float64


def kinds(tasks: int) -> Iterator[tuple[str, Tensor]]:
    """Jacobians [GROUPS, T, d] that solvers stumble over."""
    generator = torch.Generator().manual_seed(tasks)

    def random(*shape: int) -> Tensor:
        return torch.randn(GROUPS, *shape, generator=generator, dtype=F64)

    plain = random(tasks, tasks + 3)
    yield "plain", plain
    yield "conflict", plain - 1.2 * plain.mean(1, keepdim=True)
    yield "nearly stationary", plain - (1 - 1e-4) * plain.mean(1, keepdim=True)
    yield "stationary", plain - plain.mean(1, keepdim=True)
    yield "tiny", 1e-12 * plain
    yield "huge", 1e12 * plain
    yield "norms", plain * 10 ** (12 * torch.rand(GROUPS, tasks, 1, generator=generator, dtype=F64) - 6)
    for rank in {1, 2, max(1, tasks // 2), tasks - 1}:
        yield f"rank {rank}", random(tasks, rank)
    yield "common part", plain + 10 * random(1, tasks + 3)
    yield "nearly equal", random(1, tasks + 3) + 1e-6 * plain
    yield "integers", plain.round()
    for name, place in (("equal", 1.0), ("opposite", -1.0), ("opposite, twice as long", -2.0), ("one zero", 0.0)):
        paired = plain.clone()
        paired[:, -1] = place * paired[:, 0]
        yield name, paired
    yield "zero", 0 * plain


def cases(*sizes: int) -> list[object]:
    return [pytest.param(j, id=f"{tasks}-{name}") for tasks in sizes for name, j in kinds(tasks)]


def gramian(jacobian: Tensor) -> tuple[Tensor, Tensor]:
    g = jacobian @ jacobian.mT
    return g, g.diagonal(dim1=-2, dim2=-1) != 0


def quadratic(g: Tensor, w: Tensor) -> Tensor:
    return (w * (g @ w[..., None]).squeeze(-1)).sum(-1)


def lengths(g: Tensor, w: Tensor) -> Tensor:
    """What the terms of the combination have in norm: rounding is relative to it."""
    return (w.abs() * g.diagonal(dim1=-2, dim2=-1).sqrt()).sum(-1)


def shortest(g: Tensor, active: Tensor) -> Tensor:
    return torch.where(active, g.diagonal(dim1=-2, dim2=-1), torch.inf).amin(-1)


def enumerated_min_norm(g: Tensor, active: Tensor) -> Tensor:
    """The minimum over all supports, of one Gramian, by least squares on each."""
    norms = g.diagonal().sqrt()
    best = shortest(g, active)
    tasks = [t for t in range(len(g)) if active[t]]
    unit = norms[tasks].min() if tasks else norms[0]
    for count in range(2, len(tasks) + 1):
        for support in combinations(tasks, count):
            s = list(support)
            cosines = g[s][:, s] / (norms[s, None] * norms[s])
            inverse = unit / norms[s]
            x = torch.linalg.pinv(cosines + inverse[:, None] * inverse, rtol=1e-13, hermitian=True) @ inverse
            total = (x * inverse).sum()
            if total > 0 and (x > -1e-9 * x.abs().max()).all():
                w = x.clamp(min=0) * inverse / (x.clamp(min=0) * inverse).sum()
                best = torch.minimum(best, quadratic(g[s][:, s], w))
    return best


def enumerated_above(g: Tensor, bounds: Tensor, active: Tensor) -> Tensor:
    """The minimum over all sets of raised weights, of one Gramian."""
    norms = torch.where(active, g.diagonal().sqrt(), 1.0)
    cosines, start = g / (norms[:, None] * norms), bounds * norms
    best = quadratic(cosines, start)
    tasks = [t for t in range(len(g)) if active[t]]
    for count in range(1, len(tasks) + 1):
        for support in combinations(tasks, count):
            s = list(support)
            x = -torch.linalg.pinv(cosines[s][:, s], rtol=1e-13, hermitian=True) @ (cosines[s] @ start)
            if (x >= 0).all():
                v = start.clone()
                v[s] += x
                best = torch.minimum(best, quadratic(cosines, v))
    return best


@pytest.mark.parametrize("jacobian", cases(2, 3, 5, 8, 16))
def test_min_norm_is_optimal_by_duality(jacobian: Tensor) -> None:
    g, active = gramian(jacobian)
    w = min_norm(g, active)
    assert (w >= 0).all()
    some = active.any(-1)
    torch.testing.assert_close(w.sum(-1), some.double())
    scale = torch.where(some, shortest(g, active), 0.0)
    assert (simplex_gap(g, w) <= 1e-9 * quadratic(g, w) + 2e-12 * scale).all()


@pytest.mark.parametrize("jacobian", cases(2, 3, 4))
def test_min_norm_against_all_supports(jacobian: Tensor) -> None:
    g, active = gramian(jacobian[:16])
    found = quadratic(g, min_norm(g, active))
    for i in range(len(g)):
        if active[i].any():
            best = enumerated_min_norm(g[i], active[i])
            assert abs(found[i] - best) <= 1e-9 * best + 1e-13 * shortest(g[i], active[i])


@pytest.mark.parametrize("jacobian", cases(2, 3, 5, 8, 16))
def test_above_is_optimal(jacobian: Tensor) -> None:
    g, active = gramian(jacobian)
    bounds = torch.eye(g.shape[-1], dtype=F64).expand_as(g)
    v = above(g, active, bounds)
    assert (v >= bounds).all()
    each = g[:, None].expand(-1, g.shape[-1], -1, -1)
    norms = g.diagonal(dim1=-2, dim2=-1).sqrt()
    product = (each @ v[..., None]).squeeze(-1)
    rounding = lengths(each, v)
    # No conflict. Where the vector itself is rounding of long terms, its products are so, too.
    vector = quadratic(each, v).clamp(min=0).sqrt()
    noise = 1e-13 * rounding + torch.where(vector < 1e-6 * rounding, vector, 1e-7 * vector)
    assert (product >= -norms[:, None] * noise[..., None]).all()
    raised = ((v - bounds) * product).sum(-1)
    assert (raised.abs() <= 1e-9 * quadratic(each, v) + 1e-14 * rounding**2 + rounding * noise).all()
    start = quadratic(each, bounds)
    assert (quadratic(each, v) <= start * (1 + 1e-12) + 1e-15 * rounding**2).all()
    assert (bound_gap(each, bounds, v) >= 0).all()


@pytest.mark.parametrize("tasks", [3, 8, 16])
def test_bound_gap_certifies(tasks: int) -> None:
    g, active = gramian(torch.randn(256, tasks, tasks + 4, dtype=F64))
    bounds = torch.full((256, tasks), 1 / tasks, dtype=F64)
    v = above(g, active, bounds[:, None]).squeeze(1)
    scale = quadratic(g, bounds)
    assert (bound_gap(g, bounds, v) <= 1e-12 * scale).all()
    assert (bound_gap(g, bounds, bounds)[(v != bounds).any(-1)] > 0).all()


@pytest.mark.parametrize("jacobian", cases(2, 3, 4))
def test_above_against_all_supports(jacobian: Tensor) -> None:
    g, active = gramian(jacobian[:8])
    tasks = g.shape[-1]
    bounds = torch.cat([torch.eye(tasks, dtype=F64), torch.full((1, tasks), 1 / tasks, dtype=F64)])
    bounds = bounds.expand(len(g), -1, -1)
    v = above(g, active, bounds)
    for i in range(len(g)):
        for k in range(tasks + 1):
            best = enumerated_above(g[i], bounds[i, k], active[i])
            tolerance = 1e-9 * best + 1e-12 * quadratic(g[i], bounds[i, k]) + 1e-15 * lengths(g[i], v[i, k]) ** 2
            assert abs(quadratic(g[i], v[i, k]) - best) <= tolerance


@pytest.mark.parametrize("jacobian", cases(2, 4, 8))
def test_mgda_descends_for_all(jacobian: Tensor) -> None:
    g, active = gramian(jacobian)
    w = MGDA()(g)
    product = (g @ w[..., None]).squeeze(-1)
    square = quadratic(g, w)
    norms = g.diagonal(dim1=-2, dim2=-1).sqrt()
    rounding = 1e-13 * norms * lengths(g, w)[..., None]
    assert (product[active] >= (square[..., None] * (1 - 1e-9) - rounding)[active]).all()


@pytest.mark.parametrize("rule", [UPGrad(), DualProj()], ids=["UPGrad", "DualProj"])
@pytest.mark.parametrize("jacobian", cases(2, 4, 8))
def test_no_conflict(rule: UPGrad | DualProj, jacobian: Tensor) -> None:
    g, _ = gramian(jacobian)
    w = rule(g)
    norms = g.diagonal(dim1=-2, dim2=-1).sqrt()
    product = (g @ w[..., None]).squeeze(-1)
    assert (product >= -norms * 1e-8 * lengths(g, w)[..., None]).all()


@pytest.mark.parametrize("c", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("jacobian", cases(2, 4, 8))
def test_cagrad_is_optimal(jacobian: Tensor, c: float) -> None:
    """Within the radius, and as good for the worst task as its dual allows."""
    g, active = gramian(jacobian)
    tasks = g.shape[-1]
    w = CAGrad(c)(g)
    assert torch.isfinite(w).all()
    mean = torch.full_like(w, 1 / tasks)
    radius = c * quadratic(g, mean).clamp(min=0).sqrt()
    moved = torch.where(active, w - 1 / tasks, 0.0)
    rounding = 1e-7 * lengths(g, w)
    assert (quadratic(g, moved).clamp(min=0).sqrt() <= radius * (1 + 1e-9) + rounding).all()
    norms = g.diagonal(dim1=-2, dim2=-1).sqrt()
    worst = torch.where(active, (g @ w[..., None]).squeeze(-1), torch.inf).amin(-1)
    share = moved.clamp(min=0)
    total = share.sum(-1, keepdim=True)
    x = torch.where(total > 0, share / torch.where(total > 0, total, 1.0), torch.nan)
    bound = (x * (g @ mean[..., None]).squeeze(-1)).sum(-1) + radius * quadratic(g, x).clamp(min=0).sqrt()
    # Stationary, within the radius: then it opposes nobody, and nobody can gain from all.
    hull = min_norm(g, active)
    still = (quadratic(g, hull) <= 1e-12 * lengths(g, hull) ** 2) & (quadratic(g, moved) < 0.999 * radius**2)
    assert (worst >= -1e-7 * lengths(g, w) * norms.amax(-1))[still & active.any(-1)].all()
    some = active.any(-1) & (total[..., 0] > 0) & ~still
    assert (bound >= worst - 1e-9 * lengths(g, x) * lengths(g, mean))[some].all()
    scale = lengths(g, x) * (lengths(g, mean) + 1e-7 * lengths(g, w)) + (norms * rounding[..., None]).amax(-1)
    assert ((bound - worst) <= 1e-8 * scale)[some].all()


def test_cagrad_where_stationary() -> None:
    rows = torch.tensor([[1.0, 0.0], [-2.0, 0.0], [0.0, 1.0]], dtype=F64)
    for scale in (1e-12, 1.0, 1e12):
        g = (scale * rows) @ (scale * rows).T
        direction = CAGrad(0.9)(g) @ rows
        # The mean is (-1/3, 1/3); nearest to it that opposes none of them.
        torch.testing.assert_close(direction, torch.tensor([0.0, 1 / 3], dtype=F64), rtol=0, atol=1e-9)
    torch.testing.assert_close(CAGrad(0.0)(rows @ rows.T), torch.full((3,), 1 / 3, dtype=F64))


def test_cagrad_rescales() -> None:
    g, _ = gramian(torch.randn(5, 3, 4, dtype=F64))
    torch.testing.assert_close(CAGrad(0.4, "1+c")(g) * 1.4, CAGrad(0.4)(g))
    torch.testing.assert_close(CAGrad(0.4, "1+c^2")(g) * 1.16, CAGrad(0.4)(g))


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("jacobian", cases(2, 4, 8))
def test_fair_weights_solve_their_equation(jacobian: Tensor, power: float) -> None:
    g, active = gramian(jacobian)
    w = fair_weights(g, active, power)
    assert torch.isfinite(w).all()
    assert (w > 0).all()
    norms = torch.where(active, g.diagonal(dim1=-2, dim2=-1).sqrt(), 1.0)
    # In unit gradients, with the ridge: both sides, beside the rounding of the left one.
    y = w * norms
    left = (g @ torch.where(active, w, 0.0)[..., None]).squeeze(-1) / norms + 1e-13 * y
    right = w**-power / norms
    size = torch.where(active, y, 0.0).sum(-1, keepdim=True)
    error = torch.where(active, (left - right).abs() - 1e-8 * right - 1e-14 * size, 0.0)
    assert (error <= 0).all()


@pytest.mark.parametrize("max_norm", [0.0, 1.0, 5.0])
def test_nash_norm(max_norm: float) -> None:
    for scale in (1e-12, 1.0, 1e12):
        g, _ = gramian(scale * torch.randn(20, 4, 9, dtype=F64))
        w = NashMTL(max_norm)(g)
        expected = min(max_norm or 9, 2.0)
        torch.testing.assert_close(quadratic(g, w).sqrt(), torch.full((20,), expected, dtype=F64))


def test_nash_stays_small_where_stationary() -> None:
    rows = torch.tensor([[1.0, 2.0], [-1.0, -2.0]], dtype=F64)
    for scale in (1e-12, 1.0, 1e12):
        for rule in (NashMTL(), NashMTL(0.0), FairGrad(0.5), FairGrad(2.0)):
            w = rule(scale**2 * rows @ rows.T)
            assert torch.isfinite(w).all()
            assert (w @ rows).norm() <= 1e-6 * w.max() * rows.norm()


class NoSync(TorchDispatchMode):
    """Refuses what waits for a device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        name = func.name()
        assert not any(part in name for part in ("_local_scalar_dense", "nonzero", "masked_select", "equal.")), name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("rule", [MGDA(), UPGrad(), DualProj(), CAGrad(), NashMTL(), FairGrad(2.0)], ids=repr)
def test_nothing_waits_for_the_device(rule: MGDA) -> None:
    g, _ = gramian(torch.randn(4, 3, 4, dtype=F64))
    with NoSync():  # type: ignore[no-untyped-call]
        rule(g)


@pytest.mark.parametrize("rule", [MGDA(), UPGrad(), DualProj(), CAGrad(), NashMTL(), FairGrad(2.0)], ids=repr)
def test_groups_do_not_touch_one_another(rule: MGDA) -> None:
    g, _ = gramian(torch.randn(2, 3, 4, 5, dtype=F64))
    together = rule(g)
    assert together.shape == (2, 3, 4)
    torch.testing.assert_close(together[1, 2], rule(g[1, 2]), rtol=1e-12, atol=0)
    broken = g.clone()
    broken[0, 1, 2, 3] = torch.nan
    results = rule(broken)
    assert not torch.isfinite(results[0, 1]).all()
    results[0, 1] = together[0, 1]
    torch.testing.assert_close(results, together, rtol=1e-12, atol=0)
    assert rule(g[:0]).shape == (0, 3, 4)


def test_arguments() -> None:
    with pytest.raises(ValueError, match=r"normalise is one of none, l2, loss, loss\+, not 'l1'"):
        MGDA("l1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="c=-1"):
        CAGrad(-1)
    with pytest.raises(ValueError, match="rescale"):
        CAGrad(0.5, "2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="alpha=0"):
        FairGrad(0)
    with pytest.raises(ValueError, match="max_norm"):
        NashMTL(-1)
    with pytest.raises(ValueError, match="non-negative finite number per task"):
        UPGrad([1, -1])
    with pytest.raises(ValueError, match="2 numbers in preference for 3 tasks"):
        UPGrad([1, 1])(torch.eye(3))
    with pytest.raises(ValueError, match="needs the losses"):
        MGDA("loss")(torch.eye(3))
