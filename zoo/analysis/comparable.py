"""Comparable samples: where tasks get comparable feedback from a user, does learning them together help or harm?

The question is of the STEM paper (Su et al., AAAI 2024), which splits samples "according to the relative amount of
positive feedback among tasks" and prints no formula. The definition here is mtlzoo's own:

* A key k (a user, an item, any identifying column) has ``n_kt`` positives of task t in train; its feedback relative to
  the mean of all keys is ``f_kt = 1 + n_kt / mean_k n_kt``. *Raw* leaves the mean out. (One added to the counts
  themselves would outweigh all feedback on a task that most users never give any on.)
* It is ``comparable`` if ``max_t f_kt / min_t f_kt`` is below a ratio (2), else the task of the largest feedback
  dominates. With two tasks that is a bound on the log-ratio of their feedback, whose quantiles are an alternative.
* Keys without any positive are ``no feedback``; keys that train does not have are ``unseen``.

Within a bin, models are compared with single-task references on the same rows: transfer is the difference of their
metrics (for logloss reference minus model, so that more is better), with a bootstrap interval over keys, as the rows of
a key are not independent.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from mtlzoo.metrics.grouped import auc_by_group
from mtlzoo.metrics.ties import RESOLUTION, tie_starts

Array: TypeAlias = NDArray[Any]
METRICS = ("auc", "gauc", "logloss")
"""``gauc``: mean AUC within the keys that have both classes, weighted by their rows."""
NO_FEEDBACK, UNSEEN, COMPARABLE = "no feedback", "unseen", "comparable"


def relative_feedback(positives: Array, *, raw: bool = False) -> Array:
    """Feedback f [K, T], at least 1, from the positives [K, T] of train."""
    means = positives.mean(0) if len(positives) else np.ones(positives.shape[1])
    return 1.0 + (positives if raw else positives / np.where(means > 0, means, 1.0))


def bin_keys(positives: Array, tasks: Sequence[str], *, ratio: float = 2.0, raw: bool = False) -> Array:
    """The bin of every key of train.

    Args:
        positives: [K, T].
        tasks: T names.
        ratio: Largest feedback over smallest below which a key is comparable, above 1.
        raw: Compare counts, not counts by each task's mean: then the densest task dominates nearly everywhere.

    Returns:
        Names, [K].
    """
    feedback = relative_feedback(positives, raw=raw)
    dominant = np.array([f"{task} dominant" for task in tasks])[feedback.argmax(1)]
    bins = np.where(feedback.max(1) < ratio * feedback.min(1), COMPARABLE, dominant)
    return np.where(positives.sum(1) == 0, NO_FEEDBACK, bins)


def quantile_bins(positives: Array, tasks: Sequence[str], *, number: int) -> Array:
    """Bins of about equally many keys with feedback, by the log-ratio of the feedback on two tasks: names, [K]."""
    if len(tasks) != 2:
        raise ValueError(
            f"quantiles are of the ratio of two tasks; got {list(tasks)}. Name two tasks, or take a ratio."
        )
    feedback = relative_feedback(positives)
    logs = np.log(feedback[:, 0] / feedback[:, 1])
    some = positives.sum(1) > 0
    edges = np.quantile(logs[some], np.arange(1, number) / number) if some.any() else np.zeros(number - 1)
    place = np.searchsorted(edges, logs, side="right")
    names = np.array([f"{i + 1}/{number} towards {tasks[0]}" for i in range(number)])
    return np.where(some, names[place], NO_FEEDBACK)


@dataclass(frozen=True)
class Sample:
    """Rows of one bin that observe one task.

    Args:
        keys: int64 [n], from 0.
        labels: [n] in {0, 1}.
        scores: By name of a model and of each of its runs (seeds): probabilities [runs, n].
    """

    keys: Array
    labels: Array
    scores: Mapping[str, Array]


def transfer_table(
    sample: Sample, reference: str, *, bootstrap: int = 200, seed: int = 0
) -> list[dict[str, str | float]]:
    """Metrics of every model in one bin, and how much better they are than the reference's.

    Args:
        sample: Rows of the bin.
        reference: Name of the single-task model among the scores.
        bootstrap: Draws of keys with replacement; the same ones for all models.
        seed: Of the draws.

    Returns:
        A row per model and metric: ``model``, ``metric``, ``value`` (mean over the runs), ``reference``, ``transfer``,
        and its 2.5 and 97.5 percent quantiles ``low`` and ``high``. NaN where a metric is undefined: one class only.
    """
    keys, local = np.unique(sample.keys, return_inverse=True)
    random = np.random.default_rng(seed)
    draws: list[Array] = [np.ones(len(keys))]
    draws += [np.bincount(random.integers(0, len(keys), len(keys)), minlength=len(keys)) for _ in range(bootstrap)]
    measured = {
        name: {metric: _measure(metric, runs, sample.labels, local, draws) for metric in METRICS}
        for name, runs in sample.scores.items()
    }
    table: list[dict[str, str | float]] = []
    for name, by_metric in measured.items():
        if name == reference:
            continue
        for metric, values in by_metric.items():
            base = measured[reference][metric]
            better = base - values if metric == "logloss" else values - base
            known = better[1:][~np.isnan(better[1:])]
            low, high = np.quantile(known, (0.025, 0.975)) if len(known) else (np.nan, np.nan)
            numbers = {"value": values[0], "reference": base[0], "transfer": better[0], "low": low, "high": high}
            table.append({"model": name, "metric": metric, **{k: float(v) for k, v in numbers.items()}})
    return table


def _measure(metric: str, runs: Array, labels: Array, keys: Array, draws: Sequence[Array]) -> Array:
    """The mean over the runs, for each draw of keys."""
    make: Callable[[Array, Array, Array], Callable[[Array], float]] = {"auc": _auc, "gauc": _gauc, "logloss": _logloss}[
        metric
    ]
    measures = [make(scores, labels, keys) for scores in runs]
    return np.array([np.mean([measure(draw) for measure in measures]) for draw in draws])


def _auc(scores: Array, labels: Array, keys: Array) -> Callable[[Array], float]:
    scores = _logits(scores)
    order = scores.argsort(kind="stable")
    positive, keys = labels[order] > 0, keys[order]
    runs = np.flatnonzero(tie_starts(torch.from_numpy(scores[order]), RESOLUTION).numpy())

    def measure(draw: Array) -> float:
        mass = draw[keys].astype(np.float64)
        high = np.add.reduceat(mass * positive, runs)
        low = np.add.reduceat(mass * ~positive, runs)
        pairs = high.sum() * low.sum()
        return float((high * (low.cumsum() - low / 2)).sum() / pairs) if pairs else float("nan")

    return measure


def _gauc(scores: Array, labels: Array, keys: Array) -> Callable[[Array], float]:
    both, auc, rows = auc_by_group(_logits(scores).astype(np.float32), labels, keys, RESOLUTION)

    def measure(draw: Array) -> float:
        mass = draw[both] * rows
        return float((mass * auc).sum() / mass.sum()) if mass.sum() else float("nan")

    return measure


def _logits(probabilities: Array) -> Array:
    """What metrics order rows by, and call ties at their resolution."""
    inner = np.clip(probabilities.astype(np.float64), 1e-12, 1 - 1e-12)
    return np.log(inner) - np.log1p(-inner)


def _logloss(scores: Array, labels: Array, keys: Array) -> Callable[[Array], float]:
    inner = np.clip(scores.astype(np.float64), 1e-12, 1 - 1e-12)
    losses = np.bincount(keys, -np.where(labels > 0, np.log(inner), np.log1p(-inner)))
    rows = np.bincount(keys)

    def measure(draw: Array) -> float:
        return float((draw * losses).sum() / (draw * rows).sum())

    return measure
