"""Chances of being off by two noises: the t test where there is one, the level that is promised where there are two."""

import numpy as np
import pytest
from scipy import stats

from mtlzoo.compare.statistics.two_noises import probability, reach


@pytest.mark.parametrize("several", [False, True])
def test_of_one_noise_it_is_the_t_test(several: bool) -> None:
    expected = 2 * stats.t.sf(3.0, 2)
    assert probability(3.0, 1.0, 0.0, (2, 40), several=several) == pytest.approx(expected)
    assert probability(3.0, 1.0, 1e-12, (2, 40), several=several) == pytest.approx(expected, rel=2e-3)
    assert probability(3.0, 1e-12, 1.0, (2, 40), several=several) == pytest.approx(2 * stats.t.sf(3.0, 40), rel=2e-3)
    assert reach(0.05, 1.0, 0.0, (2, 40), several=several) == pytest.approx(stats.t.ppf(0.975, 2), rel=1e-4)


def test_for_several_it_is_that_of_two_t() -> None:
    draw = np.random.default_rng(0)
    off = np.abs(1.5 * draw.standard_t(2, 10**6) + 0.8 * draw.standard_t(30, 10**6))
    for x in (1.0, 5.0, 20.0):
        share = float(np.mean(off >= x))
        assert probability(x, 1.5**2, 0.8**2, (2, 30), several=True) == pytest.approx(
            share, abs=4 * (share / 1e6) ** 0.5
        )


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("level", [0.05, 0.0005])
def test_reach_is_the_inverse(several: bool, level: float) -> None:
    far = reach(level, 1.0, 0.3, (2, 40), several=several)
    assert probability(far, 1.0, 0.3, (2, 40), several=several) == pytest.approx(level, rel=1e-3)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_three_seeds_keep_the_level(share: float) -> None:
    draw = np.random.default_rng(1)
    a, c = share * draw.chisquare(2, 4000) / 2, (1 - share) * draw.chisquare(50, 4000) / 50
    off = draw.normal(size=4000)
    single = np.array([probability(*of, (2, 50)) for of in zip(off, a, c, strict=True)])
    several = np.array([probability(*of, (2, 50), several=True) for of in zip(off, a, c, strict=True)])
    assert 0.038 < np.mean(single < 0.05) < 0.072
    assert np.mean(several < 0.05) < 0.055
    assert np.mean(several < 0.005) < 0.0085
