"""ESMM: the product of probabilities as a logit, and what counts as a funnel."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch

from mtlzoo import ESMM, FeatureSchema, Task
from mtlzoo.esmm import both
from mtlzoo.schema import Batch


def build(toy: ModuleType, tasks: int = 2, **options: Any) -> ESMM:
    torch.manual_seed(0)
    schema = FeatureSchema(toy.SCHEMA.features, tuple(Task(name) for name in ("click", "cart", "buy")[:tasks]))
    return ESMM(schema, embedding_dim=4, tower_units=[8], **options).double()


def rows_of(toy: ModuleType, *labels: list[float]) -> Batch:
    rows = toy.columns(len(labels), 0)
    return {**rows, "labels": torch.tensor(labels, dtype=torch.float64)}


@pytest.mark.parametrize("a", [-200.0, -30.0, -1.0, 0.0, 3.0, 30.0, 200.0])
@pytest.mark.parametrize("b", [-200.0, -30.0, -1.0, 0.0, 3.0, 30.0, 200.0])
def test_product_is_exact_in_single_precision(a: float, b: float) -> None:
    x, y = (torch.tensor(value, requires_grad=True) for value in (a, b))
    z = both(x, y)
    z.backward()
    s, t = torch.tensor(a).double().exp(), torch.tensor(b).double().exp()
    exact = s.log() + t.log() - (1 + s + t).log()  # p / (1 - p) of p = s / (1 + s) * t / (1 + t)
    torch.testing.assert_close(z.detach().double(), exact, rtol=1e-6, atol=1e-6)
    assert x.grad is not None
    assert y.grad is not None
    torch.testing.assert_close(x.grad.double(), (1 + t) / (1 + s + t), rtol=2e-5, atol=1e-30)
    torch.testing.assert_close(y.grad.double(), (1 + s) / (1 + s + t), rtol=2e-5, atol=1e-30)


def test_predictions_of_a_longer_funnel_are_products(toy: ModuleType) -> None:
    module, rows = build(toy, tasks=3), toy.columns(9, 0)
    x = module.embedding(rows)
    factors = [value.sigmoid() for value in module.towers([x] * 3).values()]
    predictions = module.predict_step(rows, 0)
    torch.testing.assert_close(predictions["click"], factors[0])
    torch.testing.assert_close(predictions["cart"], factors[0] * factors[1])
    torch.testing.assert_close(predictions["buy"], factors[0] * factors[1] * factors[2])


def test_funnel_names_the_order_and_others_stand_alone(toy: ModuleType) -> None:
    module, rows = build(toy, tasks=3, funnel=["buy", "click"]), toy.columns(9, 0)
    factors = {name: v.sigmoid() for name, v in module.towers([module.embedding(rows)] * 3).items()}
    predictions = module.predict_step(rows, 0)
    torch.testing.assert_close(predictions["buy"], factors["buy"])
    torch.testing.assert_close(predictions["click"], factors["buy"] * factors["click"])
    torch.testing.assert_close(predictions["cart"], factors["cart"])


def test_labels_that_are_no_funnel_stop_the_training(toy: ModuleType) -> None:
    nan = float("nan")
    funnel = rows_of(toy, [1, 1], [1, 0], [0, 0], [nan, 1], [0, nan])
    assert build(toy).task_losses(funnel).isfinite().all()
    other = rows_of(toy, [1, 1], [0, 1])
    with pytest.raises(RuntimeError, match="has cart without click, so these labels are no funnel"):
        build(toy).task_losses(other)
    assert build(toy, require_funnel=False).task_losses(other).isfinite().all()
    assert build(toy, funnel=["cart", "click"]).task_losses(other).isfinite().all()


@pytest.mark.parametrize(
    ("funnel", "message"),
    [
        (["click"], "allowed are two or more different tasks"),
        (["click", "click"], "allowed are two or more different tasks"),
        (["click", "bought"], r"allowed are .* of \['click', 'like', 'stars'\]"),
        (None, r"not binary: \{'stars': 'regression'\}"),
    ],
)
def test_refuses_what_is_no_funnel(toy: ModuleType, funnel: list[str] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ESMM(toy.SCHEMA, funnel=funnel)


def test_refuses_a_conversion_that_is_unknown_without_a_click(toy: ModuleType) -> None:
    click, like, _ = toy.SCHEMA.tasks
    schema = FeatureSchema(toy.SCHEMA.features, (click, replace(like, observed="click")))
    with pytest.raises(ValueError, match=r"observed only where another label is 1: \{'like': 'click'\}"):
        ESMM(schema)
