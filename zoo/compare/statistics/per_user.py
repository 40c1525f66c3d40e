"""Metrics that are ratios of sums over users: what each user adds above and below the bar."""

import numpy as np

from mtlzoo.compare.statistics.resample import Array
from mtlzoo.metrics.grouped import auc_by_group
from mtlzoo.metrics.ties import RESOLUTION


def per_user(rows: Array, users: Array, masses: Array, number: int) -> tuple[Array, Array]:
    """A weighted mean over rows as two sums per user.

    Args:
        rows: [n], what is averaged.
        users: int [n] in [0, U).
        masses: [n] weights of the rows.
        number: U.

    Returns:
        Sums of mass x value and of mass, [U] each.
    """
    return tuple(np.bincount(users, weights, minlength=number) for weights in (masses * rows, masses))  # type: ignore[return-value]


def logistic_losses(logits: Array, labels: Array) -> Array:
    """Negative log-likelihood of rows of a binary task: logits [n], labels [n] in {0, 1}."""
    signs = np.where(np.asarray(labels) > 0, -1.0, 1.0)
    return np.asarray(np.logaddexp(0.0, signs * np.asarray(logits, dtype=np.float64)))


def softmax_losses(logits: Array, labels: Array) -> Array:
    """Negative log-likelihood of rows of a multiclass task: logits [n, classes], labels [n]."""
    logits = np.asarray(logits, dtype=np.float64)
    chosen = logits[np.arange(len(logits)), np.asarray(labels, dtype=np.int64)]
    return np.asarray(np.logaddexp.reduce(logits, axis=1) - chosen)


def grouped_auc(logits: Array, labels: Array, users: Array, number: int) -> tuple[Array, Array]:
    """GAUC by impressions as sums per user: rows x AUC and rows, 0 of users with one class."""
    found, areas, sizes = auc_by_group(np.asarray(logits, dtype=np.float32), labels, users, RESOLUTION)
    above, below = np.zeros(number), np.zeros(number)
    above[found], below[found] = areas * sizes, sizes
    return above, below
