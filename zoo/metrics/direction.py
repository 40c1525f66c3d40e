"""Which way a metric is better, by its name."""

from typing import Literal

SMALL = frozenset({"logloss", "loss", "rmse", "mae", "ece"})
"""Metrics that are better the smaller they are."""
AIMED = frozenset({"calibration"})
"""Metrics that are best at a value between: predicted over observed should be 1."""


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
