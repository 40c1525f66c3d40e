"""AUC on draws of users is scikit-learn's weighted one, ties and weights included."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from mtlzoo.compare.statistics.resample import draw_users
from mtlzoo.compare.statistics.weighted_auc import draws_of_auc
from mtlzoo.metrics.auc import AUC
from mtlzoo.metrics.ties import RESOLUTION

Array = NDArray[Any]
USERS = 40


def made_up(share: float, step: float, rows: int = 600) -> tuple[Array, Array, Array]:
    draw = np.random.default_rng(int(share * 100))
    labels = draw.random(rows) < share
    scores = np.round((draw.normal(size=rows) + labels) / step) * step
    return scores.astype(np.float32), labels, draw.integers(0, USERS, rows)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("step", [0.01, 1.0])
def test_is_the_weighted_auc_of_every_draw(share: float, step: float) -> None:
    scores, labels, users = made_up(share, step)
    weights = draw_users(USERS, 30, 1)
    counts = torch.cat(weights, 1).numpy()
    expected = [roc_auc_score(labels, scores, sample_weight=counts[users, draw]) for draw in range(30)]
    np.testing.assert_allclose(draws_of_auc(scores, labels, users, weights), expected, atol=2e-6)


def test_weights_of_rows_count() -> None:
    scores, labels, users = made_up(0.3, 0.5)
    masses = np.random.default_rng(2).random(len(labels))
    weights = draw_users(USERS, 5, 1)
    counts = torch.cat(weights, 1).numpy()
    expected = [roc_auc_score(labels, scores, sample_weight=masses * counts[users, draw]) for draw in range(5)]
    np.testing.assert_allclose(draws_of_auc(scores, labels, users, weights, masses), expected, atol=2e-6)


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_as_they_are_rows_give_the_metric_of_a_test(share: float) -> None:
    scores, labels, users = made_up(share, 1e-5, rows=5000)  # chains of scores that are nearly equal
    scores *= 0.01
    metric = AUC(resolution=RESOLUTION)
    metric.update(torch.from_numpy(scores), torch.from_numpy(labels).float())
    plain = draws_of_auc(scores, labels, users, [torch.ones(USERS, 1, dtype=torch.float64)])
    assert plain[0] == pytest.approx(metric.compute()["auc"].item(), abs=1e-12)
    assert plain[0] != pytest.approx(roc_auc_score(labels, scores), abs=1e-7)


def test_a_draw_without_a_class_has_none() -> None:
    weights = [torch.tensor([[1, 2, 0], [1, 0, 2]], dtype=torch.uint8)]
    found = draws_of_auc(np.array([0.0, 1.0]), np.array([0, 1]), np.array([0, 1]), weights)
    np.testing.assert_array_equal(found, [1.0, np.nan, np.nan])
    assert np.isnan(draws_of_auc(np.zeros(2), np.ones(2), np.array([0, 1]), weights)).all()
