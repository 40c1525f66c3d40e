"""AITM's calibrator: what it adds, to which loss, over which rows."""

from types import ModuleType
from typing import Any

import pytest
import torch

from mtlzoo import AITM, FeatureSchema
from mtlzoo.schema import Batch


def build(toy: ModuleType, **options: Any) -> AITM:
    torch.manual_seed(0)
    schema = FeatureSchema(toy.SCHEMA.features, toy.SCHEMA.tasks[:2])
    module = AITM(schema, embedding_dim=4, bottom_units=[8], tower_units=[4], **options).double()
    with torch.no_grad():
        for table in module.tables().values():
            table.normal_()
    return module


def rows_of(toy: ModuleType) -> Batch:
    rows = toy.columns(101, 0)
    return {**rows, "labels": rows["labels"][:, :2]}


def test_each_task_takes_over_what_the_one_before_took(toy: ModuleType) -> None:
    torch.manual_seed(0)
    module: Any = AITM(toy.SCHEMA, embedding_dim=4, bottom_units=[8], tower_units=[4]).double()
    rows = toy.columns(9, 0)
    x = module.embedding(rows)
    streams = [module.bottoms[0](x)]
    for t in (1, 2):
        both = [module.transfer.carry[t - 1](streams[-1]), module.bottoms[t](x)]
        scores = [(module.transfer.key(u) * module.transfer.query(u)).sum(1) / 8**0.5 for u in both]
        total = scores[0].exp() + scores[1].exp()
        values = [module.transfer.value(u) for u in both]
        streams.append(sum((s.exp() / total)[:, None] * v for s, v in zip(scores, values, strict=True)))
    logits = module(rows)
    for name, expected in module.towers(streams).items():
        torch.testing.assert_close(logits[name], expected)


def test_calibrator_is_the_mean_excess_over_the_task_before(toy: ModuleType) -> None:
    rows = rows_of(toy)
    plain, calibrated = build(toy).task_losses(rows), build(toy, calibrator=0.3).task_losses(rows)
    logits = build(toy)(rows)
    seen = ~rows["labels"][:, 1].isnan()
    weight = rows["weight"][seen]
    excess = (logits["like"].sigmoid() - logits["click"].sigmoid()).clamp(min=0)[seen]
    assert (excess > 0).any()
    assert (excess == 0).any()
    torch.testing.assert_close(calibrated[0], plain[0], rtol=0, atol=0)
    torch.testing.assert_close(calibrated[1] - plain[1], 0.3 * (excess * weight).sum() / weight.sum())


def test_calibrator_of_micro_batches_is_that_of_the_batch(toy: ModuleType) -> None:
    rows, module = rows_of(toy), build(toy, calibrator=2.0)
    observed = module.count_observed(rows)
    whole = torch.stack(module.losses(module(rows), rows, observed))
    parts = [{name: column.chunk(3)[i] for name, column in rows.items()} for i in range(3)]
    total = torch.stack([torch.stack(module.losses(module(part), part, observed)) for part in parts]).sum(0)
    torch.testing.assert_close(total, whole)


def test_calibrator_pulls_on_both_predictions(toy: ModuleType) -> None:
    rows = rows_of(toy)
    for calibrator in (0.0, 1.0):
        module = build(toy, calibrator=calibrator)
        module.losses(module(rows), rows, module.count_observed(rows))[1].backward()
        towers: Any = module.towers
        gradient = towers[0][0].weight.grad
        assert gradient is None if calibrator == 0 else gradient.any()


def test_one_task_is_a_network_of_its_own(toy: ModuleType) -> None:
    module = AITM(FeatureSchema(toy.SCHEMA.features, toy.SCHEMA.tasks[:1]))
    assert module.transfer is None


def test_refuses_a_calibrator_of_what_has_no_probability(toy: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"calibrator=0.5 with the tasks \{'stars': 'regression'\}; allowed"):
        AITM(toy.SCHEMA, calibrator=0.5)
    with pytest.raises(ValueError, match=r"calibrator=-1.*allowed are numbers >= 0"):
        build(toy, calibrator=-1.0)
