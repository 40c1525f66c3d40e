"""Intervals and tests that know both noises: of the seeds a model was trained with, and of the users it was tested on.

The mean over S seeds of a metric on the same U users is off its expectation over new seeds *and* new users by

    variance = s^2 / S + c

* s^2 is the variance over the seeds, with S - 1 degrees of freedom. On the users at hand it holds what seeds differ by
  anywhere, and what they differ by on these users alone.
* c is what users have in common for all seeds: the mean covariance of two seeds over draws of users with replacement
  (the bootstrap's covariance between seeds). What users do to single seeds is in s^2 / S already; the bootstrap
  variance of the mean over the seeds would count it twice. c is an estimate and may fall below zero: then it is zero.

This is the variance of two crossed random effects (Searle, Casella, McCulloch, Variance Components, 1992), with a
bootstrap over users in place of mean squares, as an AUC is no mean over users. The interval is ``mean +- t * error``
with the degrees of Satterthwaite (Biometrics Bulletin 1946), and the test rejects zero where the interval of the same
level does not hold it. Differences are paired: they are a number of each seed and each draw, too.

A percentile bootstrap takes s^2 of three seeds for known; docs/statistics.md measures by how much its
intervals are too short.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit, stdtr, stdtrit

from mtlzoo.compare.statistics.sample import Sample

LEVEL = 0.95
Scale = Literal["plain", "logit", "log"]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and how sure it is.

    Args:
        value: Mean over the seeds; NaN without one.
        seeds: How many.
        std: Over the seeds; NaN for one.
        error: Standard error; NaN where nothing is known of it.
        degrees: Of freedom.
        shared: c, the part of the variance that more seeds do not make smaller; NaN where rows are not known.
    """

    value: float
    seeds: int
    std: float
    error: float
    degrees: float
    shared: float

    @property
    def by_users(self) -> bool:
        """Whether the noise of users is in it."""
        return self.shared == self.shared

    @property
    def p(self) -> float | None:
        """Two-sided, of an expectation of zero; None for fewer than two seeds."""
        if self.seeds < 2 or not self.error > 0:
            return None
        return float(2 * stdtr(self.degrees, -abs(self.value) / self.error))

    def interval(self, scale: Scale = "plain", level: float = LEVEL) -> tuple[float, float]:
        """Lower and upper end, NaN where nothing is known.

        Args:
            scale: ``logit`` of what lies between 0 and 1, ``log`` of what is above 0: there a normal distribution is
                nearer, and the ends stay where values can be.
            level: Share of intervals that hold the expectation.
        """
        slope = {"plain": 1.0, "logit": self.value * (1 - self.value), "log": self.value}[scale]
        reach = self.error * float(stdtrit(self.degrees, 0.5 + level / 2))
        if scale == "plain" or not slope > 0:
            return self.value - reach, self.value + reach
        reach /= slope
        if scale == "log":
            return float(self.value * np.exp(-reach)), float(self.value * np.exp(reach))
        centre = np.log(self.value) - np.log1p(-self.value)
        return float(expit(centre - reach)), float(expit(centre + reach))


def estimate(sample: Sample) -> Estimate:
    """The mean over the seeds of a sample; of one seed over users alone, without rows over seeds alone."""
    number = len(sample.seeds)
    nan = float("nan")
    if not number:
        return Estimate(nan, 0, nan, nan, nan, nan)
    value = float(sample.values.mean())
    std = float(sample.values.std(ddof=1)) if number > 1 else nan
    shared = _shared(sample) if sample.by_users else nan
    if number == 1:
        return Estimate(value, 1, std, shared**0.5, sample.users - 1, shared)
    own, common = std**2 / number, shared if sample.by_users else 0.0
    spread = own**2 / (number - 1) + (common**2 / (sample.users - 1) if common else 0.0)
    variance = own + common
    return Estimate(value, number, std, variance**0.5, variance**2 / spread if spread else nan, shared)


def _shared(sample: Sample) -> float:
    """c; the factor makes up for a bootstrap's variance being that of U - 1 of U users."""
    seeds = len(sample.seeds)
    covariance = np.atleast_2d(np.cov(sample.defined)) * sample.users / (sample.users - 1)
    if seeds == 1:
        return float(covariance[0, 0])
    return max(0.0, float(covariance.sum() - np.trace(covariance)) / (seeds * (seeds - 1)))
