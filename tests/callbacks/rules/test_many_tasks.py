"""Rules of a hundred tasks: the ways that are only taken there, against the papers step by step and against few."""

import pytest
import torch
from torch import Tensor

from mtlzoo.callbacks.rules import CAGrad, DualProj, FairGrad, GradCraft, NashMTL, UPGrad, pcgrad
from mtlzoo.callbacks.rules.gradvac import vaccinate
from mtlzoo.callbacks.rules.linalg import active_set, pivoting
from mtlzoo.callbacks.rules.linalg.qp import above, bound_gap, min_norm, simplex_gap
from mtlzoo.callbacks.rules.pcgrad import project

TASKS = 100
F64 = torch.float64


def orders_of(*shape: int) -> Tensor:
    """Random orders [..., T, T - 1] of the others."""
    keys = torch.rand(*shape, shape[-1])
    return keys.masked_fill(torch.eye(shape[-1], dtype=torch.bool), torch.inf).argsort(-1)[..., :-1]


def opposed(*shape: int) -> Tensor:
    """Gradients [..., T, d] of which many are opposed, and one is zero."""
    rows = torch.randn(*shape, dtype=F64) + 3 * torch.randn(*shape[:-1], 4, dtype=F64) @ torch.randn(
        4, shape[-1], dtype=F64
    )
    rows[..., 7, :] = 0.0
    return rows


def test_pcgrad_step_by_step() -> None:
    rows, orders = opposed(TASKS, 300), orders_of(TASKS)
    total = torch.zeros(300, dtype=F64)
    for own, order in zip(rows.clone(), orders.tolist(), strict=True):
        for other in order:
            inner = own @ rows[other]
            if inner < 0:
                own = own - inner / rows[other].square().sum() * rows[other]  # as in the paper
        total += own
    torch.testing.assert_close(project(rows @ rows.T, orders) @ rows, total, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("tasks", [3, 12, 13, 40])
def test_pcgrad_of_many_as_of_few(tasks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, orders = opposed(50, max(tasks, 8), 90)[:, :tasks], orders_of(2, tasks)
    found = []
    for few in (0, 100):
        monkeypatch.setattr(pcgrad, "FEW_TASKS", few)
        found.append(project(rows @ rows.mT, orders))
        assert found[-1].shape == (50, 2, tasks)
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)


def test_gradvac_step_by_step() -> None:
    rows, orders, beta = opposed(TASKS, 300), orders_of(TASKS), 0.3
    targets = 0.9 * torch.rand(TASKS, TASKS, dtype=F64) - 0.3
    total, moved, lengths = torch.zeros(300, dtype=F64), targets.clone(), rows.norm(dim=1)
    for task, order in enumerate(orders.tolist()):
        own = rows[task]
        for other in order:
            if lengths[task] == 0 or lengths[other] == 0:
                continue
            norm, target = own.norm(), targets[task, other]
            cosine = own @ rows[other] / norm / lengths[other]
            if cosine < target:
                sine, wanted = (1 - cosine.square()).sqrt(), (1 - target.square()).sqrt()
                own = own + norm * (target * sine - cosine * wanted) / (lengths[other] * wanted) * rows[other]
            moved[task, other] = (1 - beta) * target + beta * cosine
        total += own
    gramian = rows @ rows.T
    weights, found = vaccinate(gramian, lengths > 0, targets, orders, beta)
    torch.testing.assert_close(torch.where(lengths > 0, weights, 0.0) @ rows, total, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found, moved, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("columns", [300, 30], ids=["independent", "dependent"])
def test_programs_are_solved(columns: int) -> None:
    """By duality; dependent gradients leave what pivoting does not solve to the walk."""
    rows = opposed(TASKS, columns)
    gramian = rows @ rows.T
    active = gramian.diagonal() != 0
    shortest = min_norm(gramian, active)
    torch.testing.assert_close(shortest.sum(), torch.ones((), dtype=F64))
    assert simplex_gap(gramian, shortest) <= 1e-9 * gramian.diagonal()[active].min()
    bounds = torch.eye(TASKS, dtype=F64)
    raised = above(gramian, active, bounds)
    assert (raised >= bounds).all()
    # What opposite gradients cancel to is as exact as the products of the parts that cancel.
    length = (raised.abs() * rows.norm(dim=1)).sum(-1)
    assert (raised @ gramian >= -1e-12 * length[:, None] * rows.norm(dim=1)).all()
    assert (bound_gap(gramian.expand(TASKS, -1, -1), bounds, raised) <= 1e-11 * length**2).all()


def test_programs_of_gradients_in_general_position_take_no_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Tensor) -> Tensor:
        raise AssertionError("walks")

    monkeypatch.setattr(active_set, "_nonnegative", refuse)
    monkeypatch.setattr(CAGrad, "_minimum", refuse)
    rows = opposed(3, TASKS, 300)
    for rule in (UPGrad(), DualProj(), CAGrad()):
        assert rule(rows @ rows.mT).isfinite().all()


def test_cagrad_is_optimal() -> None:
    """Within the radius of the mean, and the worst task gains all that its dual allows."""
    rows, c = opposed(TASKS, 300), 0.5
    gramian = rows @ rows.T
    moved = CAGrad(c)(gramian) - 1 / TASKS
    moved[7] = 0.0
    mean = rows.mean(0)
    torch.testing.assert_close((moved @ rows).norm(), c * mean.norm(), rtol=1e-9, atol=0)
    share = moved / moved.sum()
    dual = share @ rows @ mean + c * mean.norm() * (share @ rows).norm()
    worst = (rows @ (mean + moved @ rows))[rows.any(1)].min()
    assert (share >= -1e-12).all()
    torch.testing.assert_close(worst, dual, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("columns", [300, 30], ids=["independent", "dependent"])
def test_gradcraft_ends_all_conflicts_of_a_task(columns: int) -> None:
    rows = opposed(TASKS, columns)
    units = torch.nn.functional.normalize(rows)
    total, eps = torch.zeros(columns, dtype=F64), 1e-3
    for own, unit in zip(rows, units, strict=True):
        others = units[units @ unit < 0]
        wanted = eps * own.norm() - others @ own
        total += own + torch.linalg.pinv(others, rtol=1e-7) @ wanted if len(others) else own
    weights = GradCraft(0.0, eps)(rows @ rows.T)
    torch.testing.assert_close(weights @ rows, total / TASKS, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("rule", [NashMTL(0.0), FairGrad(1.0), FairGrad(2.0)], ids=repr)
def test_fair_weights_solve_their_equation(rule: NashMTL | FairGrad) -> None:
    rows = opposed(2, TASKS, 300)
    gramian, power = rows @ rows.mT, -1 / getattr(rule, "alpha", 1.0)
    weights = rule(gramian)
    active = gramian.diagonal(dim1=-2, dim2=-1) != 0
    gains = (gramian @ weights[..., None]).squeeze(-1)
    torch.testing.assert_close(gains[active], weights[active] ** power, rtol=1e-7, atol=0)


def test_dependent_variables_are_told() -> None:
    matrix = torch.eye(20, dtype=F64)
    matrix[3, 5] = matrix[5, 3] = 1.0
    chosen = torch.zeros(2, 20, dtype=torch.bool)
    chosen[:, [3, 4]], chosen[1, 5] = True, True
    padded, vectors = torch.nn.functional.pad(matrix[None], (0, 1, 0, 1)), torch.arange(40, dtype=F64).view(2, 1, 20)
    values, pivots = pivoting.solve_some(padded, torch.zeros(2, dtype=torch.int64), vectors, chosen)
    assert values[0, 0].nonzero().flatten().tolist() == [3, 4]
    torch.testing.assert_close(values[0, 0, 3:5], vectors[0, 0, 3:5])
    assert pivots.tolist() == [1.0, 0.0]
