"""Rules that solve a program or an equation: what they promise, on random and on adverse Gramians."""

import pytest
import torch
from jacobians import F64, Gramians, lengths, norms, products, quadratic
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from mtlzoo.callbacks.rules import MGDA, CAGrad, DualProj, FairGrad, NashMTL, UPGrad
from mtlzoo.callbacks.rules.linalg.qp import min_norm


def gramian(*shape: int) -> Tensor:
    rows = torch.randn(*shape, dtype=F64)
    return rows @ rows.mT


@pytest.mark.parametrize("tasks", [2, 4, 8])
def test_mgda_descends_for_all(tasks: int) -> None:
    case = Gramians(tasks)
    w = MGDA()(case.g)
    square = quadratic(case.g, w)[..., None]
    rounding = 1e-13 * norms(case.g) * lengths(case.g, w)[..., None]
    case.hold((products(case.g, w) >= square * (1 - 1e-9) - rounding) | ~case.active)


@pytest.mark.parametrize("rule", [UPGrad(), DualProj()], ids=["UPGrad", "DualProj"])
@pytest.mark.parametrize("tasks", [2, 4, 8])
def test_no_conflict(rule: UPGrad | DualProj, tasks: int) -> None:
    case = Gramians(tasks)
    w = rule(case.g)
    case.hold(products(case.g, w) >= -norms(case.g) * 1e-8 * lengths(case.g, w)[..., None])


@pytest.mark.parametrize("c", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("tasks", [2, 4, 8])
def test_cagrad_is_optimal(tasks: int, c: float) -> None:
    """Within the radius, and as good for the worst task as its dual allows."""
    case = Gramians(tasks)
    g, active = case.g, case.active
    w = CAGrad(c)(g)
    case.hold(w.isfinite())
    mean = torch.full_like(w, 1 / tasks)
    radius = c * quadratic(g, mean).clamp(min=0).sqrt()
    moved = torch.where(active, w - 1 / tasks, 0.0)
    rounding = 1e-7 * lengths(g, w)
    case.hold(quadratic(g, moved).clamp(min=0).sqrt() <= radius * (1 + 1e-9) + rounding)
    worst = torch.where(active, products(g, w), torch.inf).amin(-1)
    share = moved.clamp(min=0)
    total = share.sum(-1, keepdim=True)
    x = torch.where(total > 0, share / torch.where(total > 0, total, 1.0), torch.nan)
    bound = (x * products(g, mean)).sum(-1) + radius * quadratic(g, x).clamp(min=0).sqrt()
    # Stationary, within the radius: then it opposes nobody, and nobody can gain from all.
    hull = min_norm(g, active)
    still = (quadratic(g, hull) <= 1e-12 * lengths(g, hull) ** 2) & (quadratic(g, moved) < 0.999 * radius**2)
    case.hold((worst >= -1e-7 * lengths(g, w) * norms(g).amax(-1)) | ~still | ~active.any(-1))
    other = ~active.any(-1) | (total[..., 0] <= 0) | still
    case.hold((bound >= worst - 1e-9 * lengths(g, x) * lengths(g, mean)) | other)
    scale = lengths(g, x) * (lengths(g, mean) + 1e-7 * lengths(g, w)) + (norms(g) * rounding[..., None]).amax(-1)
    case.hold((bound - worst <= 1e-8 * scale) | other)


def test_cagrad_where_stationary() -> None:
    rows = torch.tensor([[1.0, 0.0], [-2.0, 0.0], [0.0, 1.0]], dtype=F64)
    for scale in (1e-12, 1.0, 1e12):
        g = (scale * rows) @ (scale * rows).T
        direction = CAGrad(0.9)(g) @ rows
        # The mean is (-1/3, 1/3); nearest to it that opposes none of them.
        torch.testing.assert_close(direction, torch.tensor([0.0, 1 / 3], dtype=F64), rtol=0, atol=1e-9)
    torch.testing.assert_close(CAGrad(0.0)(rows @ rows.T), torch.full((3,), 1 / 3, dtype=F64))


def test_cagrad_rescales() -> None:
    g = gramian(5, 3, 4)
    torch.testing.assert_close(CAGrad(0.4, "1+c")(g) * 1.4, CAGrad(0.4)(g))
    torch.testing.assert_close(CAGrad(0.4, "1+c^2")(g) * 1.16, CAGrad(0.4)(g))


@pytest.mark.parametrize("max_norm", [0.0, 1.0, 5.0])
def test_nash_norm(max_norm: float) -> None:
    for scale in (1e-12, 1.0, 1e12):
        g = scale**2 * gramian(20, 4, 9)
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


@pytest.mark.parametrize("rule", [MGDA(), UPGrad(), DualProj(), CAGrad(), NashMTL(), FairGrad(2.0)], ids=repr)
def test_nothing_waits_for_the_device(rule: MGDA) -> None:
    """Tensors without numbers: asking for one, or for a shape that depends on some, raises."""
    with FakeTensorMode():
        assert rule(torch.zeros(4, 3, 4, 4)).shape == (4, 3, 4)


@pytest.mark.parametrize("rule", [MGDA(), UPGrad(), DualProj(), CAGrad(), NashMTL(), FairGrad(2.0)], ids=repr)
def test_groups_do_not_touch_one_another(rule: MGDA) -> None:
    g = gramian(2, 3, 4, 5)
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
