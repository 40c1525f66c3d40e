"""A metric of rows of test on every draw of their users."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import polars as pl
from torch import Tensor

from mtlzoo.compare.statistics.per_user import grouped_auc, logistic_losses, per_user, softmax_losses
from mtlzoo.compare.statistics.resample import Array, draws_of_ratio, effective_users
from mtlzoo.compare.statistics.weighted_auc import draws_of_auc

Drawn: TypeAlias = tuple[Array, float]
"""The metric on every draw, and how many users count."""


def drawn(metric: str, rows: pl.DataFrame, task: str, users: Array, weights: Sequence[Tensor]) -> Drawn | None:
    """One metric of one task.

    Args:
        metric: By its name in results.json.
        rows: Of `mtlzoo.compare.results.Result.rows`.
        task: Name of the task.
        users: int [n] in [0, U), of every row.
        weights: Of `mtlzoo.compare.statistics.resample.draw_users`.

    Returns:
        None where the metric is not one of rows.
    """
    outputs, labels = (_array(rows[name]) for name in (task, f"label:{task}"))
    masses = rows["weight"].to_numpy().astype(np.float64) if "weight" in rows.columns else np.ones(len(rows))
    if metric == "auc" and labels.ndim == 2:
        return _macro([_auc(outputs[:, c], labels[:, c], users, masses, weights) for c in range(labels.shape[1])])
    if metric == "auc":
        return _auc(outputs, labels, users, masses, weights)
    if metric == "gauc_impressions":
        return _gauc(outputs, labels, users, masses, weights)
    if metric not in _ROWS:
        return None
    of_row = _ROWS[metric](outputs, labels)
    seen = ~np.isnan(of_row)
    above, below = per_user(of_row[seen], users[seen], masses[seen], len(weights[0]))
    values = draws_of_ratio(above, below, weights)
    return np.sqrt(values) if metric == "rmse" else values, effective_users(below)


def _array(column: pl.Series) -> Array:
    """[n], or [n, classes] where rows hold lists."""
    values = column.to_numpy()
    return np.stack(list(values)) if values.dtype == object else values


def _auc(logits: Array, labels: Array, users: Array, masses: Array, weights: Sequence[Tensor]) -> Drawn:
    seen = ~np.isnan(labels)
    logits, labels, users, masses = logits[seen], labels[seen], users[seen], masses[seen]
    weighted = None if (masses == 1).all() else masses
    classes = [np.bincount(users[labels == label], minlength=len(weights[0])) for label in (0, 1)]
    return draws_of_auc(logits, labels, users, weights, weighted), effective_users(np.stack(classes))


def _macro(classes: Sequence[Drawn]) -> Drawn:
    """The mean over the classes that have both labels."""
    both = [(values, users) for values, users in classes if not np.isnan(values[0])]
    if not both:
        return classes[0]
    return np.mean([values for values, _ in both], axis=0), min(users for _, users in both)


def _gauc(logits: Array, labels: Array, users: Array, masses: Array, weights: Sequence[Tensor]) -> Drawn | None:
    seen = ~np.isnan(labels)
    if not (masses == 1).all():
        return None
    above, below = grouped_auc(logits[seen], labels[seen], users[seen], len(weights[0]))
    return draws_of_ratio(above, below, weights), effective_users(below)


def _logloss(logits: Array, labels: Array) -> Array:
    if labels.ndim == 2:  # the mean over the observed classes, NaN without one
        losses = np.where(np.isnan(labels), 0.0, logistic_losses(logits, labels))
        seen = (~np.isnan(labels)).sum(1)
        return np.asarray(np.divide(losses.sum(1), seen, out=np.full(len(losses), np.nan), where=seen > 0))
    seen = ~np.isnan(labels)
    losses = np.full(len(labels), np.nan)
    losses[seen] = (softmax_losses if logits.ndim == 2 else logistic_losses)(logits[seen], labels[seen])
    return losses


def _right(logits: Array, labels: Array) -> Array:
    return np.where(np.isnan(labels), np.nan, logits.argmax(1) == labels)


_ROWS: dict[str, Callable[[Array, Array], Array]] = {
    "logloss": _logloss,
    "accuracy": _right,
    "rmse": lambda values, labels: np.square(np.asarray(values, dtype=np.float64) - labels),
}
"""What a row adds to the mean, NaN where it is not observed."""
