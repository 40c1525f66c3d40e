"""How many seeds a difference would need."""

from functools import cache

import numpy as np
from scipy.special import stdtrit

from mtlzoo.compare.statistics.intervals import Estimate
from mtlzoo.compare.statistics.resample import Array

MOST = 1000
"""Numbers of seeds that are tried."""


def seeds_needed(difference: Estimate, size: float = 0.001, power: float = 0.8, level: float = 0.05) -> int | None:
    """Seeds with which a true difference of some size would be shown, with a chance of `power`.

    The smallest S with ``size >= (t_{1 - level / 2} + t_{power}) sqrt(s^2 / S + c)``, both t of S - 1 degrees. For one
    comparison; Holm over many needs more.

    Args:
        difference: A difference that was measured, for its s^2 and c.
        size: In the metric's units.
        power: Chance that the test shows it.
        level: Of the test, two-sided.

    Returns:
        None where 1,000 seeds are not enough (the noise of users does not fall with seeds) or s^2 is not known.
    """
    if difference.seeds < 2:
        return None
    seeds = np.arange(2, MOST + 1)
    common = difference.shared if difference.by_users else 0.0
    enough = np.flatnonzero(size >= _reach(level, power) * np.sqrt(difference.std**2 / seeds + common))
    return int(seeds[enough[0]]) if len(enough) else None


@cache
def _reach(level: float, power: float) -> Array:
    """Both quantiles together, for every number of seeds."""
    degrees = np.arange(1, MOST)
    return np.asarray(stdtrit(degrees, 1 - level / 2) + stdtrit(degrees, power))
