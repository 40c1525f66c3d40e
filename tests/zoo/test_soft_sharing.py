"""Soft sharing: the gradient of the distance, to whom it goes, and that it counts once a step."""

from itertools import combinations
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from mtlzoo import SoftSharing


def build(toy: ModuleType, **options: Any) -> Any:
    torch.manual_seed(0)
    module = SoftSharing(toy.SCHEMA, embedding_dim=4, bottom_units=[6, 5], tower_units=[8], **options).double()
    with torch.no_grad():
        for weight in module.bottoms.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.3)
    return module


def gradients(module: Any, loss: Tensor) -> dict[str, Tensor]:
    module.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def losses(module: Any, rows: Any) -> list[Tensor]:
    return list(module.losses(module(rows), rows, module.count_observed(rows)))


def test_bottoms_move_as_the_penalty_of_all_pairs_moves_them(toy: ModuleType) -> None:
    rows, module = toy.columns(40, 0), build(toy, distance=0.3)
    got = gradients(module, torch.stack(losses(module, rows)).sum())
    plain = build(toy, distance=0.0)
    bottoms = [torch.cat([p.flatten() for p in bottom.parameters()]) for bottom in plain.bottoms]
    penalty = sum((a - b).square().sum() for a, b in combinations(bottoms, 2))
    for name, gradient in gradients(plain, torch.stack(losses(plain, rows)).sum() + 0.3 / 2 * penalty).items():
        torch.testing.assert_close(got[name], gradient)


def test_a_bottom_is_reached_by_its_own_task_alone(toy: ModuleType) -> None:
    rows, module = toy.columns(40, 0), build(toy, distance=0.3)
    for task in range(3):
        reached = gradients(module, losses(module, rows)[task])
        assert {name.split(".")[1] for name in reached if name.startswith("bottoms")} == {str(task)}


def test_distance_counts_once_a_step(toy: ModuleType) -> None:
    rows, module = toy.columns(40, 0), build(toy, distance=0.3)
    observed = module.count_observed(rows)
    whole = torch.stack(module.losses(module(rows), rows, observed))
    total = torch.zeros_like(whole)
    for i in range(4):
        part = {name: column.chunk(4)[i] for name, column in rows.items()}
        module.accumulating = i < 3
        total += torch.stack(module.losses(module(part), part, observed))
    torch.testing.assert_close(total, whole)


def test_bottoms_start_together_and_their_tasks_draw_them_apart(toy: ModuleType) -> None:
    module = SoftSharing(toy.SCHEMA, embedding_dim=4, bottom_units=[6, 5], tower_units=[8], distance=0.3).double()
    rows = toy.columns(40, 0)
    first: Any
    first, *others = module.bottoms
    for other in others:
        assert torch.equal(first[0].weight, other[0].weight)  # type: ignore[index]
    torch.stack(losses(module, rows)).sum().backward()
    for other in others:
        assert not torch.equal(first[0].weight.grad, other[0].weight.grad)  # type: ignore[index]


def test_refuses_a_negative_distance(toy: ModuleType) -> None:
    with pytest.raises(ValueError, match="distance=-1; allowed are numbers >= 0"):
        build(toy, distance=-1)
