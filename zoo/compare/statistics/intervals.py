"""Intervals and tests that know both noises: of the seeds a model was trained with, and of the users it was tested on.

The mean over S seeds of a metric on the same U users is off its expectation over new seeds *and* new users by

    variance = s^2 / S + c

* s^2 is the variance over the seeds, with S - 1 degrees of freedom. On the users at hand it holds what seeds differ by
  anywhere, and what they differ by on these users alone.
* c is what users have in common for all seeds: the mean covariance of two seeds over draws of users with replacement
  (the bootstrap's covariance between seeds). What users do to single seeds is in s^2 / S already; the bootstrap
  variance of the mean over the seeds would count it twice. c is an estimate and may fall below zero: then it is zero.

This is the variance of two crossed random effects (Searle, Casella, McCulloch, Variance Components, 1992), with a
bootstrap over users in place of mean squares, as an AUC is no mean over users. How far off the mean may then be is
`mtlzoo.compare.statistics.two_noises`. The test rejects zero where the interval of the same level does not hold it.
Differences are paired: they are a number of each seed and each draw, too.

A percentile bootstrap takes s^2 of three seeds for known; docs/statistics.md measures by how much its intervals are too
short.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit

from mtlzoo.compare.statistics.sample import Sample
from mtlzoo.compare.statistics.two_noises import probability, reach

LEVEL = 0.95
Scale = Literal["plain", "logit", "log"]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and how sure it is.

    Args:
        value: Mean over the seeds; NaN without one.
        seeds: How many.
        std: Over the seeds; NaN for one.
        shared: c, the part of the variance that more seeds do not make smaller; NaN where rows are not known.
        users: How many users count; NaN likewise.
    """

    value: float
    seeds: int
    std: float
    shared: float
    users: float

    @property
    def by_users(self) -> bool:
        """Whether the noise of users is in it."""
        return self.shared == self.shared

    @property
    def p(self) -> float | None:
        """Two-sided, of an expectation of zero, for a single test; None for fewer than two seeds."""
        return self._probability(several=False)

    @property
    def p_of_several(self) -> float | None:
        """The same for one of several tests, that are to be adjusted: right also where p is small."""
        return self._probability(several=True)

    def interval(self, scale: Scale = "plain", level: float = LEVEL, *, several: bool = False) -> tuple[float, float]:
        """Lower and upper end, NaN where nothing is known.

        Args:
            scale: ``logit`` of what lies between 0 and 1, ``log`` of what is above 0: there a normal distribution is
                nearer, and the ends stay where values can be.
            level: Share of intervals that hold the expectation.
            several: For one of several intervals, whose level is high.
        """
        slope = {"plain": 1.0, "logit": self.value * (1 - self.value), "log": self.value}[scale]
        own, common = self._variances
        if not own + common > 0:
            known = own + common == 0 and (self.seeds > 1 or self.by_users)
            return (self.value, self.value) if known else (float("nan"), float("nan"))
        far = reach(1 - level, own, common, self._degrees, several=several)
        if scale == "plain" or not slope > 0:
            return self.value - far, self.value + far
        far /= slope
        if scale == "log":
            return float(self.value * np.exp(-far)), float(self.value * np.exp(far))
        centre = np.log(self.value) - np.log1p(-self.value)
        return float(expit(centre - far)), float(expit(centre + far))

    @property
    def error(self) -> float:
        """Standard error of what is known; 0 of one seed without rows."""
        return float(sum(self._variances) ** 0.5)

    @property
    def _variances(self) -> tuple[float, float]:
        return (self.std**2 / self.seeds if self.seeds > 1 else 0.0), (self.shared if self.by_users else 0.0)

    @property
    def _degrees(self) -> tuple[float, float]:
        return max(self.seeds - 1, 1), self.users - 1 if self.by_users else 1.0

    def _probability(self, *, several: bool) -> float | None:
        if self.seeds < 2 or not self.error > 0:
            return None
        return probability(self.value, *self._variances, self._degrees, several=several)


def estimate(sample: Sample) -> Estimate:
    """The mean over the seeds of a sample; of one seed over users alone, without rows over seeds alone."""
    number, nan = len(sample.seeds), float("nan")
    if not number:
        return Estimate(nan, 0, nan, nan, nan)
    std = float(sample.values.std(ddof=1)) if number > 1 else nan
    known = (_shared(sample), sample.users) if sample.by_users else (nan, nan)
    return Estimate(float(sample.values.mean()), number, std, *known)


def _shared(sample: Sample) -> float:
    """c; the factor makes up for a bootstrap's variance being that of U - 1 of U users."""
    seeds = len(sample.seeds)
    covariance = np.atleast_2d(np.cov(sample.defined)) * sample.users / (sample.users - 1)
    if seeds == 1:
        return float(covariance[0, 0])
    return max(0.0, float(covariance.sum() - np.trace(covariance)) / (seeds * (seeds - 1)))
