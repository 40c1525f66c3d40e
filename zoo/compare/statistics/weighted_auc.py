"""ROC-AUC for every draw of users, sorted once."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mtlzoo.compare.statistics.resample import Array, floating
from mtlzoo.metrics.ties import RESOLUTION, tie_starts


def draws_of_auc(
    scores: Array, labels: Array, users: Array, weights: Sequence[Tensor], masses: Array | None = None
) -> Array:
    """AUC of rows that count as often as their user was drawn.

    With P_r and N_r the mass of positives and negatives of tie run r, in ascending order of the scores::

        AUC = sum_r P_r (N_1 + ... + N_r - N_r / 2) / (sum P  sum N)

    Only runs with a positive have a term, so negatives are summed in one go from one such run to the next: time is that
    of B sums over the rows and one running sum over the runs of the scarcer class.

    Args:
        scores: float [n], logits; those that `mtlzoo.metrics.ties` calls equal are tied and count half.
        labels: [n] in {0, 1}.
        users: int [n] in [0, U).
        weights: [U, some draws] each, as of `mtlzoo.compare.statistics.resample.draw_users`; float64 stays float64.
        masses: [n] weights of the rows; all 1 if None.

    Returns:
        float64 [B]; NaN where a draw lacks a class.
    """
    # In float32, as the metrics compare scores; ties are told in float64, as they do.
    scores = np.asarray(scores, dtype=np.float32)
    order = scores.argsort(kind="stable")
    run = tie_starts(torch.from_numpy(scores[order]).double(), RESOLUTION).numpy().cumsum()
    columns = [run, np.asarray(labels)[order] > 0, np.asarray(users)[order].astype(np.int64)]
    columns += [] if masses is None else [np.asarray(masses, dtype=np.float64)[order]]
    if 2 * columns[1].sum() > len(order):  # upside down the area is the same, and has fewer terms
        columns = [-run[::-1], ~columns[1][::-1], *(column[::-1] for column in columns[2:])]
    terms = _Terms(len(weights[0]), *columns)
    return np.concatenate([terms.area(floating(block)) for block in weights])


class _Terms:
    """Which rows are in which term of the sum: rows in ascending order, R runs that hold a positive."""

    def __init__(self, number: int, run: Array, positive: Array, users: Array, masses: Array | None = None) -> None:
        negative = ~positive
        runs, first = np.unique(run[positive], return_index=True)
        start, end = (np.searchsorted(run[negative], runs, side=side) for side in ("left", "right"))
        tied = np.flatnonzero(start < end)
        within = negative & np.isin(run, runs)
        upto = negative & (run <= runs[-1]) if len(runs) else within

        def bags(rows: Array, starts: Array) -> _Bags:
            return _Bags(users[rows], starts, None if masses is None else masses[rows])

        self.positives = bags(positive, first)
        self.upto = bags(upto, np.append(0, end)[:-1])
        self.within = bags(within, np.append(0, (end - start)[tied].cumsum())[:-1])
        self.tied = torch.from_numpy(tied)
        mass = np.ones(len(run)) if masses is None else masses
        sizes = [np.bincount(users[rows], mass[rows], minlength=number) for rows in (positive, negative)]
        self.sizes = torch.from_numpy(np.stack(sizes))

    def area(self, weights: Tensor) -> Array:
        """For every column of weights [U, b]."""
        positives, upto = self.positives.sums(weights), self.upto.sums(weights).cumsum_(0)
        pairs = (positives * upto).sum(0).double()
        pairs -= (positives[self.tied] * self.within.sums(weights)).sum(0).double() / 2
        return (pairs / (self.sizes.to(weights.dtype) @ weights).double().prod(0)).numpy()


class _Bags:
    """Rows side by side, some to a bag."""

    def __init__(self, users: Array, starts: Array, masses: Array | None) -> None:
        self.users, self.starts = torch.from_numpy(users.copy()), torch.from_numpy(starts)
        self.masses = None if masses is None else torch.from_numpy(masses.copy())

    def sums(self, weights: Tensor) -> Tensor:
        """Of the weights of the users in each bag, [bags, b]."""
        masses = None if self.masses is None else self.masses.to(weights.dtype)
        return F.embedding_bag(self.users, weights, self.starts, mode="sum", per_sample_weights=masses)
