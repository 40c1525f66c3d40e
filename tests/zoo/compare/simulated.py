"""Results whose truth is known: contenders that are alike in expectation, trained with seeds, tested on users.

A row has six features, partly its user's taste, and its label follows their sum. What a contender says of a row is a
weighted sum of the features and noise of its own. A seed draws the weights (so seeds differ on everybody, and by user)
and how large the noise is (so some seeds are better than others, anywhere). Contenders of a kind each miss another
feature: they serve other users well, and are the same on all.

The truth is the expectation over new seeds and new users (as many as there are). By symmetry it is the same for all
contenders, so every difference is 0; for values it is the mean over all repetitions, whose own error is that of one
repetition through the root of their number.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from mtlzoo.compare.statistics.per_user import per_user
from mtlzoo.compare.statistics.resample import draw_users, draws_of_ratio, effective_users
from mtlzoo.compare.statistics.sample import Sample
from mtlzoo.compare.statistics.weighted_auc import draws_of_auc

Array = NDArray[Any]
FEATURES = 6


@dataclass(frozen=True)
class World:
    """Who is asked, and how seeds and contenders differ.

    Args:
        users: U.
        rows: Mean rows of a user, at least 1 each, as uneven as a geometric distribution.
        bias: Of the label's logit: how rare positives are.
        weights: How far seeds differ in the features' weights.
        quality: How far they differ in the size of their noise, in logarithms.
        own: Whether every contender misses another feature.
        ties: Whether scores are rounded to whole numbers.
        metric: ``auc`` or ``rmse``.
        tasks: Tasks, each with labels and noise of its own, on the same rows.
    """

    users: int = 50
    rows: float = 20
    bias: float = -1.5
    weights: float = 0.15
    quality: float = 0.1
    own: bool = False
    ties: bool = False
    metric: str = "auc"
    tasks: int = 1

    def repetition(self, seed: int, contenders: int, seeds: int, draws: int) -> list[list[Sample]]:
        """A sample of every task and contender; new users, labels and seeds for every `seed`."""
        draw = np.random.default_rng(seed)
        sizes = draw.geometric(1 / self.rows, self.users)
        users = np.repeat(np.arange(self.users), sizes)
        taste = 0.6 * draw.normal(size=(self.users, FEATURES))
        features = 0.8 * draw.normal(size=(len(users), FEATURES)) + taste[users]
        as_they_are = torch.ones(self.users, 1, dtype=torch.uint8)
        blocks = [torch.cat([as_they_are, *draw_users(self.users, draws, seed)], 1)]
        return [
            [self._sample(draw, features, labels, users, blocks, contender, seeds) for contender in range(contenders)]
            for labels in (self._labels(draw, features) for _ in range(self.tasks))
        ]

    def _labels(self, draw: np.random.Generator, features: Array) -> Array:
        signal = self.bias + features.sum(1) / FEATURES**0.5
        if self.metric == "rmse":
            return np.asarray(signal + draw.normal(size=len(signal)))
        labels: Array = (draw.random(len(signal)) < expit(signal)).astype(np.float32)
        labels[:2] = [0.0, 1.0]  # both classes, however rare
        return labels

    def _sample(
        self,
        draw: np.random.Generator,
        features: Array,
        labels: Array,
        users: Array,
        blocks: Any,
        number: int,
        seeds: int,
    ) -> Sample:
        weights = np.ones(FEATURES)
        weights[number % FEATURES] -= self.own
        made = []
        for _ in range(seeds):
            said = features @ (weights + self.weights * draw.normal(size=FEATURES)) / FEATURES**0.5
            said += np.exp(self.quality * draw.normal()) * 0.5 * draw.normal(size=len(said))
            made.append(self._measure(np.round(2 * said) if self.ties else said, labels, users, blocks))
        values = np.stack(made)
        if self.metric == "rmse":
            counted = effective_users(np.bincount(users, minlength=self.users))
        else:
            counted = effective_users(
                np.stack([np.bincount(users[labels == label], minlength=self.users) for label in (0, 1)])
            )
        return Sample(tuple(range(seeds)), values[:, 0], values[:, 1:], counted)

    def _measure(self, said: Array, labels: Array, users: Array, blocks: Any) -> Array:
        if self.metric == "rmse":
            errors = np.square(self.bias + said - labels)
            return np.sqrt(draws_of_ratio(*per_user(errors, users, np.ones(len(users)), self.users), blocks))
        return draws_of_auc(said, labels, users, blocks)


def first(sample: Sample, seeds: int) -> Sample:
    """The sample of fewer seeds."""
    assert sample.draws is not None
    return Sample(sample.seeds[:seeds], sample.values[:seeds], sample.draws[:seeds], sample.users)


def percentile_interval(sample: Sample, draw: np.random.Generator) -> tuple[float, float]:
    """What a bootstrap over seeds and users gives by its quantiles: too short of few seeds."""
    assert sample.draws is not None
    seeds, draws = sample.draws.shape
    chosen = draw.integers(0, seeds, (draws, seeds))
    means = sample.draws[chosen, np.arange(draws)[:, None]].mean(1)
    low, high = np.nanquantile(means, (0.025, 0.975))
    return float(low), float(high)
