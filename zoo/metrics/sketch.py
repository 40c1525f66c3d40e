r"""The ordered sketch behind the streaming AUC: constant memory, with a certificate of its error.

A sketch is a float64 tensor [4, K] of buckets in ascending order of their lower ends. A bucket is an interval
[low, high] of scores and the masses of the positive and of the negative rows in it. What is known of a row is that its
score lies in the interval of its bucket; nothing else is needed:

* A positive row in bucket i is certainly above N(high < low_i) negatives, certainly below N(low > high_i), and the
  order against the rest is unknown. Counting the unknown pairs half, the AUC is off by at most half their share of all
  P N pairs. That is the certificate. Equal scores are ties, not unknown: a bucket of one score costs nothing.
* While there are no more than `capacity` different scores, every bucket is one score and the AUC is exact.
* Beyond, `shrink` joins neighbours, always out of the lighter half of all pairs. Fewer than half of them weigh more
  than twice the mean, so a bucket of several scores weighs at most 4 n / capacity when it is made, and `absorb` lets it
  grow no further than that share of all n rows. Sum_i p_i n_i <= max_i(p_i + n_i) min(P, N) gives a certificate of at
  most max_i(p_i + n_i) / (2 max(P, N)) <= 4 / capacity as long as buckets don't overlap.
* In practice it is about 0.6 / capacity, however many rows came (measured to 300 x capacity), and 1 / capacity for the
  sketches of many ranks together; the error itself is a hundredth of that. Buckets come to overlap where scores drift
  while the rows come in, because a heavy bucket takes no more rows; then the certificate grows (measured: to
  7 / capacity at 300 x capacity), and it still holds.
"""

from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from mtlzoo.metrics.ties import tie_starts

Rows: TypeAlias = tuple[Tensor, Tensor]
"""Scores in ascending order and their masses, of one class."""

LARGEST_SHARE = 4
"""A bucket of several scores takes new rows up to this many times 1 / capacity of all rows."""


def absorb(sketch: Tensor, scores: Tensor, masses: Tensor, capacity: int) -> Tensor:
    """The sketch with new rows: each in the bucket that holds its score, or beside it in one of its own.

    Args:
        sketch: Sketch [4, K].
        scores: [M], in any order, no NaN.
        masses: [M], positive for rows with a positive label, negative for the others, 0 for rows to leave out.
        capacity: Buckets that the sketch is meant for; see `LARGEST_SHARE`.
    """
    classes = [_by_score(scores[rows], masses[rows].abs()) for rows in (masses > 0, masses < 0)]
    if sketch.shape[1]:
        sketch, classes = _settle(sketch, classes, capacity)
    (above, hits), (below, misses) = classes
    none = torch.zeros_like
    merged = torch.cat(
        [sketch, torch.stack([above, above, hits, none(hits)]), torch.stack([below, below, none(misses), misses])], 1
    )
    return _unite(merged[:, _order(merged[0], nearly_sorted=True)])


def _settle(sketch: Tensor, classes: list[Rows], capacity: int) -> tuple[Tensor, list[Rows]]:
    """The sketch with the rows that its buckets take, and the rows that are left."""
    low, high = sketch[0], sketch[1]
    homes = [torch.searchsorted(low, values, right=True) - 1 for values, _ in classes]  # -1 below all buckets
    inside = [(home >= 0) & (values <= high[home]) for home, (values, _) in zip(homes, classes, strict=True)]
    arriving = torch.stack(
        [
            torch.bincount(home.clamp(min=0), mass * into, minlength=len(low))
            for home, into, (_, mass) in zip(homes, inside, classes, strict=True)
        ]
    )
    grown = sketch[2:] + arriving
    total = sketch[2:].sum() + sum(mass.sum() for _, mass in classes)
    takes = (low == high) | (grown.sum(0) <= LARGEST_SHARE / capacity * total)
    left = [(~(into & takes[home])).nonzero().squeeze(1) for home, into in zip(homes, inside, strict=True)]
    rest = [(values[own], mass[own]) for own, (values, mass) in zip(left, classes, strict=True)]
    return torch.cat([sketch[:2], torch.where(takes, grown, sketch[2:])]), rest


def shrink(sketch: Tensor, capacity: int) -> Tensor:
    """The sketch with neighbours joined until no more than `capacity` buckets are left."""
    first = 0
    while (surplus := sketch.shape[1] - capacity) > 0:
        pairs = (sketch.shape[1] - first) // 2
        masses = sketch[2:, first : first + 2 * pairs].sum(0).view(pairs, 2).sum(1)
        count = min(surplus, (pairs + 1) // 2)
        heaviest = masses.kthvalue(count).values
        joined, equal = masses < heaviest, masses == heaviest
        joined |= equal & (equal.cumsum(0) <= count - joined.sum())
        starts = torch.ones_like(sketch[0], dtype=torch.bool)
        starts[first + 1 : first + 2 * pairs : 2] = ~joined
        sketch = _join(sketch, starts)
        first = 1 - first  # else a light bucket between two heavy ones would keep its place in its pair
    return sketch


def union(sketches: Tensor) -> Tensor:
    """One sketch out of several side by side; equal scores of different ranks become one bucket."""
    by_high = sketches[:, _order(sketches[1])]
    return _unite(by_high[:, _order(by_high[0], nearly_sorted=True)])


def tied(sketch: Tensor, resolution: float) -> Tensor:
    """The sketch with neighbouring scores that count as equal (`tie_starts`) as one; buckets of several stay."""
    single = sketch[0] == sketch[1]
    starts = tie_starts(sketch[0], resolution)
    starts[1:] |= ~(single[1:] & single[:-1])
    joined = _join(sketch, starts)
    joined[1] = torch.where(single[starts], joined[0], joined[1])
    return joined


def roc_auc(sketch: Tensor) -> tuple[Tensor, Tensor]:
    """Area under the ROC curve and its certificate, both NaN where a class is missing."""
    low, high, positive, negative = sketch
    not_above = negative.cumsum(0)
    below = not_above - negative
    if (low[1:] <= high[:-1]).any():  # buckets overlap
        order = _order(high, nearly_sorted=True)
        zero = negative.new_zeros(1)
        below = torch.cat([zero, negative[order].cumsum(0)])[torch.searchsorted(high[order], low)]
        not_above = torch.cat([zero, not_above])[torch.searchsorted(low, high, right=True)]
    pairs = positive.sum() * negative.sum()
    unknown = (positive * (not_above - below)).sum() - (positive * negative)[low == high].sum()
    return (positive * (below + not_above)).sum() / 2 / pairs, unknown / 2 / pairs


def average_precision(sketch: Tensor) -> Tensor:
    """Area under the precision-recall curve: the sum over thresholds of precision times gain in recall.

    Equal to scikit-learn's ``average_precision_score`` while every bucket is one score. A bucket of several scores
    counts with the precision at its middle. NaN where a class is missing.
    """
    low, high, positive, negative = sketch.flip(1)
    half = torch.where(low < high, 0.5, 0.0)
    hits = positive.cumsum(0) - positive * half
    precision = hits / (hits + negative.cumsum(0) - negative * half)
    area = torch.where(positive > 0, positive * precision, 0.0).sum() / positive.sum()
    return torch.where(negative.sum() > 0, area, torch.nan)


def _join(sketch: Tensor, starts: Tensor) -> Tensor:
    """Runs of buckets as one bucket each; `starts` [K] marks the first of a run, whose first or last ends highest."""
    first = starts.nonzero().squeeze(1)
    last = torch.cat([first[1:] - 1, first.new_tensor([len(starts) - 1])]) if len(first) else first
    sums = sketch[2:].cumsum(1)[:, last].diff(dim=1, prepend=sketch.new_zeros(2, 1))
    return torch.cat([sketch[0, first][None], torch.maximum(sketch[1, first], sketch[1, last])[None], sums])


def _by_score(scores: Tensor, masses: Tensor) -> Rows:
    if (masses == 1).all():  # no weights: sorting values alone takes a tenth of the time
        ordered = torch.from_numpy(np.sort(scores.numpy())) if scores.is_cpu else scores.sort().values
        return ordered.double(), masses.double()
    order = _order(scores)
    return scores[order].double(), masses[order].double()


def _unite(sketch: Tensor) -> Tensor:
    """Equal neighbours as one bucket."""
    starts = torch.ones_like(sketch[0], dtype=torch.bool)
    starts[1:] = (sketch[0, 1:] != sketch[0, :-1]) | (sketch[1, 1:] != sketch[1, :-1])
    return _join(sketch, starts)


def _order(values: Tensor, *, nearly_sorted: bool = False) -> Tensor:
    """Indices that sort: stable for values made of few sorted runs. NumPy's sorts are 3 to 6 times torch's on a CPU."""
    if values.is_cpu:
        return torch.from_numpy(np.argsort(values.numpy(), kind="stable" if nearly_sorted else None))
    return values.argsort(stable=nearly_sorted)
