"""Which way is better, whatever a metric is of."""

import pytest

from mtlzoo.metrics.direction import direction

NAMES = {
    "auc": "max",
    "val/click/auc": "max",
    "test/a/b/ndcg@20": "max",
    "val/logloss_mean": "min",
    "test/rating/rmse": "min",
    "test/rating/mae": "min",
    "val/click/ece": "min",
    "train/loss": "min",
    "val/click/calibration": None,
    "val/logloss/auc": "max",
}


@pytest.mark.parametrize("name", NAMES)
def test_direction(name: str) -> None:
    assert direction(name) == NAMES[name]
