"""Cross-Stitch: what is mixed, and what the matrices start as."""

from types import ModuleType
from typing import Any

import pytest
import torch

from mtlzoo import CrossStitch, FeatureSchema


def build(toy: ModuleType, tasks: int = 3, **options: Any) -> Any:
    torch.manual_seed(0)
    schema = FeatureSchema(toy.SCHEMA.features, toy.SCHEMA.tasks[:tasks])
    module = CrossStitch(schema, embedding_dim=4, bottom_units=[6, 5], tower_units=[8], **options).double()
    with torch.no_grad():
        for table in module.tables().values():
            table.normal_()
    return module


def test_layers_are_mixed_by_their_matrices(toy: ModuleType) -> None:
    module, rows = build(toy), toy.columns(9, 0)
    for stitch in module.stitches:
        torch.nn.init.normal_(stitch)
    streams = [module.embedding(rows)] * 3
    for layers, stitch in zip(module.bottoms, module.stitches, strict=True):
        outputs = [layer(x) for layer, x in zip(layers, streams, strict=True)]
        streams = [sum(stitch[t, s] * outputs[s] for s in range(3)) for t in range(3)]
    logits = module(rows)
    for name, expected in module.towers(streams).items():
        torch.testing.assert_close(logits[name], expected)


@pytest.mark.parametrize(("tasks", "own"), [(1, 0.9), (2, 0.9), (3, 0.5)])
def test_matrices_start_convex(toy: ModuleType, tasks: int, own: float) -> None:
    for stitch in build(toy, tasks, own=own).stitches:
        torch.testing.assert_close(stitch.sum(1), torch.ones(tasks, dtype=torch.float64), rtol=0, atol=1e-7)
        expected = torch.full((tasks,), own if tasks > 1 else 1.0, dtype=torch.float64)
        torch.testing.assert_close(stitch.diagonal(), expected, rtol=0, atol=1e-7)


def test_refuses_shares_that_are_none(toy: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"own=1.5; allowed are numbers in \[0, 1\]"):
        build(toy, own=1.5)
