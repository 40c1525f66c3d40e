"""Comparable samples: bins by definition, metrics against sklearn, intervals that cover."""

import math
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from mtlzoo.analysis.comparable import (
    COMPARABLE,
    NO_FEEDBACK,
    Sample,
    bin_keys,
    quantile_bins,
    relative_feedback,
    transfer_table,
)

TASKS = ["click", "like"]


def test_bins_are_what_the_definition_says() -> None:
    # Means of 10 clicks and 0.5 likes: feedback is 1 + clicks / 10 and 1 + 2 likes.
    positives = np.array([[20, 1], [0, 0], [10, 0], [9, 0], [11, 2], [10, 0]])
    assert positives.mean(0).tolist() == [10, 0.5]
    assert np.allclose(relative_feedback(positives)[0], [3, 3])
    assert bin_keys(positives, TASKS).tolist() == [
        COMPARABLE,
        NO_FEEDBACK,
        "click dominant",  # 2 and 1: a ratio of 2 is no longer below 2
        COMPARABLE,  # 1.9 and 1
        "like dominant",  # 2.1 and 5
        "click dominant",
    ]
    assert bin_keys(positives, TASKS, ratio=2.01)[2] == COMPARABLE
    assert bin_keys(positives, TASKS, raw=True)[0] == "click dominant"
    assert np.allclose(relative_feedback(positives, raw=True), positives + 1)
    assert np.allclose(relative_feedback(np.array([[3, 0], [1, 0]])), [[2.5, 1], [1.5, 1]])  # nobody likes anything


def test_three_tasks_are_comparable_if_all_pairs_are() -> None:
    positives = np.array([[5, 5, 5], [10, 5, 5], [0, 5, 5]])
    assert bin_keys(positives, ["a", "b", "c"]).tolist() == [COMPARABLE, COMPARABLE, "b dominant"]
    assert bin_keys(positives[:, ::-1], ["c", "b", "a"]).tolist() == [COMPARABLE, COMPARABLE, "c dominant"]


def test_quantiles_hold_about_equally_many_keys_with_feedback() -> None:
    random = np.random.default_rng(0)
    positives = np.stack([random.poisson(5, 3000), random.poisson(2, 3000)], 1)
    bins = quantile_bins(positives, TASKS, number=3)
    silent = positives.sum(1) == 0
    assert (bins[silent] == NO_FEEDBACK).all()
    assert ((bins == NO_FEEDBACK) == silent).all()
    for number in (1, 2, 3):
        assert 0.25 < (bins == f"{number}/3 towards click").sum() / (~silent).sum() < 0.42
    with pytest.raises(ValueError, match="ratio of two tasks"):
        quantile_bins(positives, ["a", "b", "c"], number=3)


def sample(rows: int = 4000, keys: int = 150) -> Sample:
    random = np.random.default_rng(1)
    key = random.integers(0, keys, rows) * 7
    taste = random.normal(size=1051)[key]
    labels = (random.random(rows) < 1 / (1 + np.exp(-taste - 1))).astype(np.float32)
    good, noisy = (1 / (1 + np.exp(-taste - random.normal(scale=s, size=(2, rows)).round(1))) for s in (0.3, 2.0))
    return Sample(key, labels, {"single": noisy, "MMoE": good})


def by_metric(table: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["metric"]: row for row in table}


@pytest.mark.slow
def test_metrics_equal_those_of_sklearn_and_transfer_is_their_difference() -> None:
    data = sample()
    rows = by_metric(transfer_table(data, "single", bootstrap=20))
    assert {row["model"] for row in rows.values()} == {"MMoE"}
    measures: dict[str, Any] = {"auc": roc_auc_score, "logloss": log_loss, "gauc": within}
    for metric, measure in measures.items():
        means = {
            name: float(
                np.mean([measure(data.labels, one) if metric != "gauc" else measure(data, one) for one in runs])
            )
            for name, runs in data.scores.items()
        }
        sign = -1 if metric == "logloss" else 1
        assert rows[metric]["value"] == pytest.approx(means["MMoE"], abs=1e-9)
        assert rows[metric]["reference"] == pytest.approx(means["single"], abs=1e-9)
        assert rows[metric]["transfer"] == pytest.approx(sign * (means["MMoE"] - means["single"]), abs=1e-9)
        assert rows[metric]["low"] < rows[metric]["transfer"] < rows[metric]["high"]
    assert rows["auc"]["transfer"] > 0.02


def within(data: Sample, scores: Any) -> float:
    """Mean AUC within keys that have both classes, by their rows, one key after another."""
    total, mass = 0.0, 0
    for key in np.unique(data.keys):
        rows = data.keys == key
        if len(set(data.labels[rows])) == 2:
            total += rows.sum() * roc_auc_score(data.labels[rows], scores[rows].astype(np.float32))
            mass += rows.sum()
    return total / mass


def test_the_interval_is_wide_where_keys_are_few() -> None:
    data = sample()
    one_key_a_row = Sample(np.arange(len(data.keys)), data.labels, data.scores)
    few, many = (by_metric(transfer_table(s, "single"))["auc"] for s in (sample(keys=15), one_key_a_row))
    assert few["high"] - few["low"] > many["high"] - many["low"]


def test_the_same_scores_transfer_nothing_and_one_class_stays_undefined() -> None:
    data = sample()
    same = Sample(data.keys, data.labels, {"single": data.scores["single"], "twin": data.scores["single"]})
    for row in transfer_table(same, "single", bootstrap=10):
        assert (row["transfer"], row["low"], row["high"]) == (0, 0, 0)
    ones = Sample(data.keys, np.ones_like(data.labels), data.scores)
    rows = by_metric(transfer_table(ones, "single", bootstrap=5))
    assert all(
        math.isnan(rows[metric][column]) for metric in ("auc", "gauc") for column in ("value", "transfer", "low")
    )
    assert rows["logloss"]["value"] > 0
