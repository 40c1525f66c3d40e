import numpy as np
import pytest
import torch

from mtlzoo.compare.statistics.per_user import grouped_auc, logistic_losses, per_user, softmax_losses
from mtlzoo.compare.statistics.resample import draw_users, draws_of_ratio, effective_users
from mtlzoo.metrics.gauc import GAUC


@pytest.mark.parametrize("users", [1, 7, 3000])
def test_every_draw_has_as_many_users(users: int) -> None:
    weights = torch.cat(draw_users(users, 150, 3), 1)
    assert weights.shape == (users, 150)
    assert (weights.sum(0, dtype=torch.int64) == users).all()
    assert torch.equal(weights, torch.cat(draw_users(users, 150, 3), 1))


def test_counts_spread_like_a_multinomial() -> None:
    counts = torch.cat(draw_users(50, 4000, 0), 1).double()
    assert counts.var(1).mean().item() == pytest.approx(1 - 1 / 50, rel=0.02)


def test_a_ratio_is_that_of_the_rows_of_every_draw() -> None:
    draw = np.random.default_rng(0)
    users, rows, masses = draw.integers(0, 30, 500), draw.normal(size=500), draw.random(500)
    weights = draw_users(30, 20, 0)
    above, below = per_user(rows, users, masses, 30)
    counts = torch.cat(weights, 1).numpy()
    expected = [np.average(rows, weights=masses * counts[users, b]) for b in range(20)]
    np.testing.assert_allclose(draws_of_ratio(above, below, weights), expected, atol=1e-6)


def test_a_ratio_of_nothing_is_unknown() -> None:
    weights = [torch.tensor([[2, 0], [0, 2]], dtype=torch.uint8)]
    found = draws_of_ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0]), weights)
    np.testing.assert_array_equal(found, [0.5, np.nan])


def test_grouped_auc_is_the_metric() -> None:
    draw = np.random.default_rng(1)
    users, logits = draw.integers(0, 40, 300), draw.normal(size=300).astype(np.float32)
    labels = (draw.random(300) < 0.2).astype(np.float32)
    metric = GAUC()
    metric.update(*(torch.from_numpy(a) for a in (logits, labels, users)))
    found = draws_of_ratio(*grouped_auc(logits, labels, users, 40), [torch.ones(40, 1, dtype=torch.float64)])
    assert found[0] == pytest.approx(metric.compute()["gauc_impressions"].item())


def test_losses_are_those_of_torch() -> None:
    logits, classes = torch.randn(20, 3, dtype=torch.float64) * 30, torch.randint(3, (20,))
    expected = torch.nn.functional.cross_entropy(logits, classes, reduction="none")
    np.testing.assert_allclose(softmax_losses(logits.numpy(), classes.numpy()), expected, atol=1e-12)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[:, 0], (classes > 0).double(), reduction="none"
    )
    np.testing.assert_allclose(logistic_losses(logits[:, 0].numpy(), (classes > 0).numpy()), expected, atol=1e-12)


def test_users_of_equal_size_all_count_and_the_scarcer_class_decides() -> None:
    assert effective_users(np.full(30, 7)) == pytest.approx(30)
    assert effective_users(np.array([100, 1, 1])) == pytest.approx(102**2 / 10002)
    assert effective_users(np.array([[1] * 100, [1] * 10 + [0] * 90])) == pytest.approx(10)
    assert effective_users(np.zeros(4)) == 0
