"""Rules of a hundred tasks: the ways that are only taken there, against the papers step by step and against few."""

import pytest
import torch
from torch import Tensor

from mtlzoo.callbacks.rules import pcgrad
from mtlzoo.callbacks.rules.gradvac import vaccinate
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
