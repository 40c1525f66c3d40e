"""AUC within groups, for all groups at once."""

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from mtlzoo.metrics.ties import tie_starts

Array: TypeAlias = NDArray[Any]
_CHUNK = 2**22
"""Rows per pass: keeps the temporaries small."""


def grouped_auc(scores: Array, masses: Array, groups: Array, resolution: float = 0.0) -> dict[str, float]:
    """Mean AUC over the groups that have both classes.

    One sort of a 64-bit number per row, (group, score, label), puts equal scores of a group side by side; sums over
    such runs, and over the runs of a group, give every group's AUC. Group numbers more than 2^30 apart take a second
    sort.

    Args:
        scores: float32 [n].
        masses: [n], positive for rows with a positive label, negative for the others, 0 for rows to leave out.
        groups: int64 [n].
        resolution: Of ties, see `mtlzoo.metrics.AUC`.

    Returns:
        Means weighted by ``impressions`` (mass of the group), by ``positives``, and ``unweighted``; NaN where no group
        has both classes or where a score is NaN.
    """
    if not (used := masses != 0).all():
        scores, masses, groups = scores[used], masses[used], groups[used]
    if not len(scores) or np.isnan(scores).any():
        return dict.fromkeys(("impressions", "positives", "unweighted"), float("nan"))
    keys = (_dense(groups) << 33) | (_sortable(scores) << 1) | (masses > 0)
    if weighted := bool((np.abs(masses) != 1).any()):
        order = keys.argsort()
        keys, masses = keys[order], np.abs(masses[order]).astype(np.float64)
    else:
        keys.sort()
    totals = np.zeros(6)
    start = 0
    while start < len(keys):
        end = len(keys)
        if end - start > _CHUNK:  # up to the end of the group that the chunk ends in
            end = int(np.searchsorted(keys, ((keys[start + _CHUNK] >> 33) + 1) << 33))
        totals += _sums(keys[start:end], masses[start:end] if weighted else None, resolution)
        start = end
    with np.errstate(invalid="ignore"):
        means = totals[:3] / totals[3:]
    return dict(zip(("impressions", "positives", "unweighted"), means.tolist(), strict=True))


def auc_by_group(scores: Array, labels: Array, groups: Array, resolution: float = 0.0) -> tuple[Array, Array, Array]:
    """AUC of every group that has both classes.

    Args:
        scores: float32 [n], none of them NaN.
        labels: [n] in {0, 1}.
        groups: int64 [n].
        resolution: Of ties, see `mtlzoo.metrics.AUC`.

    Returns:
        The groups, ascending, their AUC, and how many rows they have.
    """
    names, numbers = np.unique(groups, return_inverse=True)
    if not len(names):
        return names, np.zeros(0), np.zeros(0)
    keys = (numbers.astype(np.int64) << 33) | (_sortable(scores) << 1) | (labels > 0)
    keys.sort()
    found, area, positive, negative = _areas(keys, None, resolution)
    return names[found], area / (positive * negative), positive + negative


def _sums(keys: Array, masses: Array | None, resolution: float) -> Array:
    """Over whole groups: sums of weight x AUC, then of weight, for the three weights."""
    _, area, positive, negative = _areas(keys, masses, resolution)
    auc = area / (positive * negative)
    weights = np.stack([positive + negative, positive, np.ones_like(auc)])
    return np.concatenate([weights @ auc, weights.sum(1)])


def _areas(keys: Array, masses: Array | None, resolution: float = 0.0) -> tuple[Array, Array, Array, Array]:
    """Of the groups that have both classes: number, pairs in order, mass of positives and of negatives."""
    runs = _starts(keys >> 1)
    if resolution:
        groups = _starts(keys[runs] >> 33)
        starts = tie_starts(torch.from_numpy(_scores(keys[runs])), resolution).numpy()
        starts[groups] = True
        runs = runs[starts]
    positive = (keys & 1).astype(np.float64)
    negative = 1 - positive
    if masses is not None:
        positive, negative = positive * masses, negative * masses
    positive, negative = np.add.reduceat(positive, runs), np.add.reduceat(negative, runs)
    first = _starts(keys[runs] >> 33)
    lower = np.cumsum(negative) - negative  # negatives below a run, those of earlier groups included
    lower -= np.repeat(lower[first], np.diff(first, append=len(runs)))
    area = np.add.reduceat(positive * (lower + negative / 2), first)
    positive, negative = np.add.reduceat(positive, first), np.add.reduceat(negative, first)
    both = (positive > 0) & (negative > 0)
    return (keys[runs] >> 33)[first][both], area[both], positive[both], negative[both]


def _starts(values: Array) -> Array:
    """Index of the first of every run of equal values."""
    return np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))


def _sortable(scores: Array) -> Array:
    """Float32 as numbers in [0, 2^32) of the same order; -0 equals 0."""
    bits = (scores + np.float32(0)).view(np.int32)
    ordered: Array = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64) + 2**31
    return ordered


def _scores(keys: Array) -> Array:
    """What `_sortable` made of the scores, back from keys."""
    bits = (((keys >> 1) & 0xFFFFFFFF) - 2**31).astype(np.int32)
    scores: Array = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(np.float32)
    return scores


def _dense(groups: Array) -> Array:
    """Group numbers in [0, 2^30)."""
    near = int(groups.max()) - int(groups.min()) < 2**30
    dense: Array = groups - groups.min() if near else np.unique(groups, return_inverse=True)[1]
    return dense
