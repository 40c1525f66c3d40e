"""MoCo's averages and weights."""

import pytest
import torch

from mtlzoo.callbacks.rules import MoCo
from mtlzoo.callbacks.rules.linalg.simplex import project_on_simplex

F64 = torch.float64


def drawn(seed: int, tasks: int = 3, elements: int = 7) -> torch.Tensor:
    return torch.randn(tasks, elements, generator=torch.Generator().manual_seed(seed), dtype=F64)


@pytest.mark.parametrize("projection", ["simplex", "softmax"])
def test_follows_its_equations(projection: str) -> None:
    losses = torch.tensor([0.5, 2.0, 1.0], dtype=F64)
    rule = MoCo(0.4, 0.3, 0.2, 0.1, 0.05, projection=projection)  # type: ignore[arg-type]
    averages, weights = torch.zeros(3, 7, dtype=F64), torch.full((3,), 1 / 3, dtype=F64)
    for step in range(1, 6):
        gradients = drawn(step) * 10.0**step
        averages += 0.4 / step**0.3 * (gradients / gradients.norm(dim=1, keepdim=True) * losses[:, None] - averages)
        matrix = averages @ averages.T + 0.05 * torch.eye(3, dtype=F64)
        weights = weights - 0.2 / step**0.1 * matrix @ weights
        everyone = torch.ones(3, dtype=torch.bool)
        weights = weights.softmax(0) if projection == "softmax" else project_on_simplex(weights, everyone)
        torch.testing.assert_close(rule(gradients, losses=losses), weights @ averages, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(rule.weights, weights)


def test_weights_go_to_the_shortest_combination() -> None:
    """Of constant gradients; the averages reach them."""
    gradients = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=F64)
    rule = MoCo(beta_sigma=0.0, gamma_sigma=0.0)
    for _ in range(500):
        gradient = rule(gradients, losses=torch.tensor([1.0, 2.0], dtype=F64))
    torch.testing.assert_close(rule.weights, torch.tensor([0.8, 0.2], dtype=F64))
    torch.testing.assert_close(gradient, torch.tensor([0.8, 0.4], dtype=F64))


def test_a_task_without_gradient_fades() -> None:
    rule = MoCo()
    losses = torch.ones(2)
    rule(torch.ones(2, 4), losses=losses)
    before = rule.averages.clone()
    rule(torch.tensor([[1.0] * 4, [0.0] * 4]), losses=losses)
    assert (rule.averages[1].abs() < before[1].abs()).all()
    assert not MoCo()(torch.zeros(2, 4), losses=losses).any()


def test_a_step_that_is_not_finite_does_not_last() -> None:
    rule, losses = MoCo(), torch.ones(3)
    rule(drawn(0), losses=losses)
    before = {name: value.clone() for name, value in rule.state_dict().items()}
    bad = drawn(1)
    bad[1, 2] = torch.nan
    assert rule(bad, losses=losses).isnan().any()
    assert all(torch.equal(value, before[name]) for name, value in rule.state_dict().items())


def test_goes_on_from_its_state() -> None:
    rule, resumed, losses = MoCo(), MoCo(), torch.ones(3)
    rule(drawn(0), losses=losses)
    resumed.load_state_dict(rule.state_dict())
    assert torch.equal(rule(drawn(1), losses=losses), resumed(drawn(1), losses=losses))


def test_averages_of_bfloat16_are_float32() -> None:
    rule = MoCo()
    assert rule(drawn(0).bfloat16(), losses=torch.ones(3)).dtype == torch.bfloat16
    assert rule.averages.dtype == torch.float32


def test_refuses() -> None:
    with pytest.raises(ValueError, match=r"MoCo: beta=0\.0 is not possible; allowed: in \(0, 1\]"):
        MoCo(0.0)
    with pytest.raises(ValueError, match="projection='none'"):
        MoCo(projection="none")  # type: ignore[arg-type]
    rule = MoCo()
    with pytest.raises(ValueError, match=r"needs the losses of the tasks"):
        rule(drawn(0))
    rule(drawn(0), losses=torch.ones(3))
    with pytest.raises(ValueError, match=r"averages of \(3, 7\).*got gradients of \(3, 8\)"):
        rule(drawn(0, elements=8), losses=torch.ones(3))
