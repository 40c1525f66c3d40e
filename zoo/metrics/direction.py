"""Which way a metric is better, and which one stands for a task, by their names."""

from collections.abc import Collection
from typing import Literal

SMALL = frozenset({"logloss", "loss", "rmse", "mae", "ece"})
"""Metrics that are better the smaller they are."""
AIMED = frozenset({"calibration"})
"""Metrics that are best at a value between: predicted over observed should be 1."""
MAIN = ("auc", "accuracy", "rmse", "recall@20")
"""Metrics that stand for a task: the first of these that it has."""


def main_metric(names: Collection[str]) -> str | None:
    """The one of these metrics that stands for their task; None where there is none of `MAIN`.

    Args:
        names: Of the metrics of one task, alone.
    """
    return next((metric for metric in MAIN if metric in names), None)


def direction(name: str) -> Literal["min", "max"] | None:
    """Whether a metric should be small or large.

    Args:
        name: Of a metric, alone (``auc``) or in full (``val/click/auc``, ``test/logloss_mean``).

    Returns:
        None where neither is better.
    """
    metric = name.rpartition("/")[2].removesuffix("_mean")
    if metric in AIMED:
        return None
    return "min" if metric in SMALL else "max"
