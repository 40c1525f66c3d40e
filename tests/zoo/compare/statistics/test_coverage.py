"""Intervals hold the truth and tests find nothing where there is nothing; the long run is benchmarks/coverage.py."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from compare.simulated import World, first, percentile_interval
from scipy.stats import ttest_1samp

from mtlzoo.compare.leaderboard.family import SIGNIFICANT, Family
from mtlzoo.compare.statistics.intervals import Scale, estimate
from mtlzoo.compare.statistics.sample import Sample, difference

REPETITIONS = 300
"""A share of 5 % is then known to 2.5 points, and all but three times in a thousand to 3.8."""
SUITED = World(users=60, rows=6, metric="rmse", own=True)
"""Contenders suit different users."""
RARE = World(users=300, rows=4, bias=-3.7, own=True)
"""Some 50 positives of 1,200 rows."""


@cache
def pairs(world: World, seeds: int, repetitions: int = REPETITIONS) -> list[tuple[Sample, Sample]]:
    drawn = [world.repetition(seed, 2, seeds, 100)[0] for seed in range(repetitions)]
    return [(one, other) for one, other in drawn]


def held(samples: Sequence[Sample], truth: float, scale: Scale) -> tuple[float, float]:
    """Share of our intervals that hold the truth, and of the percentile bootstrap's."""
    draw = np.random.default_rng(0)
    ours = [estimate(sample).interval(scale) for sample in samples]
    quantiles = [percentile_interval(sample, draw) for sample in samples]
    shares = [np.mean([low <= truth <= high for low, high in made]) for made in (ours, quantiles)]
    return float(shares[0]), float(shares[1])


def values_of(world: World, seeds: int) -> tuple[list[Sample], float]:
    """Values of the first contender and their expectation."""
    return [first(one, seeds) for one, _ in pairs(world, 5)], float(np.mean([one.values for one, _ in pairs(world, 5)]))


def crossed(seeds: int, own: float, repetitions: int = 600) -> list[Sample]:
    """Means of tables seeds x users of expectation 0; seeds differ by `own`, users by 1."""
    draw, users = np.random.default_rng(0), 40
    made = []
    for _ in range(repetitions):
        table = draw.normal(size=users) + draw.normal(size=(seeds, users)) + own * draw.normal(size=(seeds, 1))
        weights = draw.multinomial(users, np.full(users, 1 / users), 150).T / users
        made.append(Sample(tuple(range(seeds)), table.mean(1), table @ weights, users))
    return made


@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_hold_the_truth(seeds: int) -> None:
    values, truth = values_of(SUITED, seeds)
    assert 0.915 < held(values, truth, "log")[0] < 0.985


@pytest.mark.parametrize("own", [0.0, 0.15, 0.4, 1.0])
@pytest.mark.parametrize("seeds", [3, 10])
def test_whether_seeds_or_users_are_most_of_the_noise(seeds: int, own: float) -> None:
    samples = crossed(seeds, own)
    assert 0.925 < held(samples, 0.0, "plain")[0] < 0.975
    assert np.mean([(estimate(s).p_of_several or 1.0) < 0.005 for s in samples]) < 0.013


def test_a_percentile_bootstrap_of_three_seeds_does_not() -> None:
    assert held(crossed(3, 1.0), 0.0, "plain")[1] < 0.85


def test_of_fifty_positives_too() -> None:
    assert 45 < np.mean([one.users for one, _ in pairs(RARE, 5)]) * 1.3 < 65  # users that count, of 50 positives
    values, truth = values_of(RARE, 3)
    assert 0.915 < held(values, truth, "logit")[0] < 0.985


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("world", [SUITED, RARE])
def test_nothing_is_found_where_there_is_nothing(world: World, seeds: int) -> None:
    found = [estimate(first(difference(*pair), seeds)).p for pair in pairs(world, 5)]
    assert 0.015 < np.mean([p is not None and p < SIGNIFICANT for p in found]) < 0.085


def test_over_seeds_alone_too_much_is_found() -> None:
    gaps = np.stack([difference(*pair).values for pair in pairs(SUITED, 5)])
    assert np.mean(ttest_1samp(gaps, 0, axis=1).pvalue < SIGNIFICANT) > 0.1


def test_a_table_without_differences_shows_none() -> None:
    world = World(users=60, rows=6, metric="rmse", own=True, tasks=3)
    shown, bold = [], []
    for seed in range(100):
        tasks = world.repetition(seed, 4, 5, 100)
        family = Family("rmse", {f"t{t}": {f"c{c}": s for c, s in enumerate(of)} for t, of in enumerate(tasks)}, "c0")
        assert len(family.adjusted) == 3 * 4
        shown.append([min(p.values()) < SIGNIFICANT for p in (family.adjusted, family.best_adjusted)])
        bold += [family.is_best((task, "c0")) for task in ("t0", "t1", "t2")]
    assert (np.mean(shown, axis=0) < 0.12).all()
    assert np.mean(bold) > 0.92  # whichever is the best
