"""AdaTT against its equations, written out."""

from types import ModuleType
from typing import Any

import pytest
import torch

from mtlzoo import AdaTT


def build(toy: ModuleType, **options: Any) -> Any:
    torch.manual_seed(0)
    module = AdaTT(toy.SCHEMA, embedding_dim=4, levels=2, expert_units=[6], tower_units=[8], **options).double()
    with torch.no_grad():
        for table in module.tables().values():
            table.normal_()
    return module


@pytest.mark.parametrize(("task_experts", "shared_experts"), [(1, 0), (2, 0), (2, 3), (1, 1)])
def test_fuses_all_experts_and_its_own_once_more(toy: ModuleType, task_experts: int, shared_experts: int) -> None:
    module = build(toy, task_experts=task_experts, shared_experts=shared_experts)
    rows = toy.columns(9, 0)
    units = 4 if shared_experts else 3
    streams = [module.embedding(rows)] * units
    for number, level in enumerate(module.levels):
        own = [[expert(streams[s]) for expert in level.experts[s]] for s in range(units)]
        everything = [h for hs in own for h in hs]
        streams = [
            sum(w[:, None] * h for w, h in zip(level.gates[s](streams[s]).T, everything, strict=True))
            + (own[s][0] if len(own[s]) == 1 else sum(v * h for v, h in zip(level.native[str(s)], own[s], strict=True)))
            for s in range(units if number == 0 else 3)
        ]
    logits = module(rows)
    for name, expected in module.towers(streams).items():
        torch.testing.assert_close(logits[name], expected)


def test_one_native_expert_has_no_weight_to_learn(toy: ModuleType) -> None:
    assert not [name for name, _ in build(toy, task_experts=1).named_parameters() if "native" in name]
    native = [p for name, p in build(toy, task_experts=4).named_parameters() if "native" in name]
    assert len(native) == 2 * 3
    assert all(p.shape == (4,) and p.abs().max() <= 0.5 for p in native)
