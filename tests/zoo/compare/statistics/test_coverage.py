"""Intervals hold the truth and tests find nothing where there is nothing; the long run is benchmarks/coverage.py."""

from functools import cache

import numpy as np
import pytest
from compare.simulated import World, first, percentile_interval
from scipy.stats import ttest_1samp

from mtlzoo.compare.family import SIGNIFICANT, Family
from mtlzoo.compare.statistics.intervals import Scale, estimate
from mtlzoo.compare.statistics.sample import Sample, difference

REPETITIONS = 300
"""A share of 5 % is then known to 2.5 points, three times in a hundred to 3.8."""
RESTLESS = World(users=400, rows=2, metric="rmse", weights=0.6)
"""Seeds differ more than users do."""
SUITED = World(users=60, rows=6, metric="rmse", own=True)
"""Contenders suit different users."""
RARE = World(users=300, rows=4, bias=-3.7, own=True)
"""Some 50 positives of 1,200 rows."""


@cache
def pairs(world: World, seeds: int, repetitions: int = REPETITIONS) -> list[tuple[Sample, Sample]]:
    drawn = [world.repetition(seed, 2, seeds, 100)[0] for seed in range(repetitions)]
    return [(one, other) for one, other in drawn]


def coverage(world: World, seeds: int, scale: Scale) -> tuple[float, float]:
    """Of our interval, and of the percentile bootstrap's."""
    values = [first(one, seeds) for one, _ in pairs(world, 5)]
    truth = np.mean([one.values.mean() for one, _ in pairs(world, 5)])
    draw = np.random.default_rng(0)
    ours = [estimate(value).interval(scale) for value in values]
    quantiles = [percentile_interval(value, draw) for value in values]
    held = [np.mean([low <= truth <= high for low, high in made]) for made in (ours, quantiles)]
    return float(held[0]), float(held[1])


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("world", [RESTLESS, SUITED])
def test_intervals_hold_the_truth(world: World, seeds: int) -> None:
    assert 0.915 < coverage(world, seeds, "log")[0] < 0.985


def test_a_percentile_bootstrap_of_three_seeds_does_not() -> None:
    assert coverage(RESTLESS, 3, "log")[1] < 0.85


def test_of_fifty_positives_too() -> None:
    assert 45 < np.mean([one.users for one, _ in pairs(RARE, 5)]) * 1.3 < 65  # users that count, of 50 positives
    assert 0.915 < coverage(RARE, 3, "logit")[0] < 0.985


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("world", [RESTLESS, SUITED, RARE])
def test_nothing_is_found_where_there_is_nothing(world: World, seeds: int) -> None:
    found = [estimate(first(difference(*pair), seeds)).p for pair in pairs(world, 5)]
    assert 0.015 < np.mean([p is not None and p < SIGNIFICANT for p in found]) < 0.085


def test_over_seeds_alone_too_much_is_found() -> None:
    gaps = np.stack([difference(*pair).values for pair in pairs(SUITED, 5)])
    assert np.mean(ttest_1samp(gaps, 0, axis=1).pvalue < SIGNIFICANT) > 0.1


def test_a_table_without_differences_shows_none() -> None:
    world = World(users=60, rows=6, metric="rmse", own=True, tasks=3)
    shown = []
    for seed in range(100):
        tasks = world.repetition(seed, 4, 5, 100)
        family = Family("rmse", {f"t{t}": {f"c{c}": s for c, s in enumerate(of)} for t, of in enumerate(tasks)}, "c0")
        assert len(family.adjusted) == 3 * 4
        shown.append([min(p.values()) < SIGNIFICANT for p in (family.adjusted, family.best_adjusted)])
    assert (np.mean(shown, axis=0) < 0.12).all()
