import numpy as np
import pytest
from scipy import stats

from mtlzoo.compare.statistics.intervals import Estimate, estimate
from mtlzoo.compare.statistics.planning import seeds_needed
from mtlzoo.compare.statistics.sample import Sample, combined, difference, mean

VALUES = np.array([0.71, 0.73, 0.72, 0.75])


def crossed(seeds: int, users: int, own: float, common: float, seed: int = 0) -> Sample:
    """Means of a table seeds x users, with draws of its columns."""
    draw = np.random.default_rng(seed)
    table = own * draw.normal(size=(seeds, 1)) + common * draw.normal(size=users) + draw.normal(size=(seeds, users))
    weights = draw.multinomial(users, np.full(users, 1 / users), 4000) / users
    return Sample(tuple(range(seeds)), table.mean(1), table @ weights.T, users)


def test_over_seeds_alone_it_is_the_t_test() -> None:
    found = estimate(Sample((0, 1, 2, 3), VALUES - 0.7))
    expected = stats.ttest_1samp(VALUES - 0.7, 0)
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert found.interval() == pytest.approx((interval.low, interval.high))
    assert not found.by_users


def test_variances_are_those_of_crossed_random_effects() -> None:
    sample = crossed(5, 40, 0.2, 1.0)
    draw = np.random.default_rng(0)  # the same table
    table = 0.2 * draw.normal(size=(5, 1)) + draw.normal(size=40) + draw.normal(size=(5, 40))
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    mixed = (rest**2).sum() / (4 * 39)
    seeds, users = 40 * table.mean(1).var(ddof=1), 5 * table.mean(0).var(ddof=1)
    expected = (seeds + users - mixed) / (5 * 40)
    assert estimate(sample).error ** 2 == pytest.approx(expected, rel=0.1)  # 4,000 draws


def test_of_one_seed_it_is_over_users_and_has_no_test() -> None:
    sample = crossed(1, 50, 0.0, 1.0)
    found = estimate(sample)
    assert found.p is None
    assert sample.draws is not None
    assert found.error == pytest.approx(sample.draws.std(ddof=1) * np.sqrt(50 / 49))
    assert found.users == 50
    assert np.isnan(found.std)


def test_of_one_seed_without_rows_nothing_is_known() -> None:
    found = estimate(Sample((3,), np.array([0.7])))
    assert found.value == 0.7
    assert np.isnan(found.interval()).all()
    assert np.isnan(estimate(Sample((), np.zeros(0))).value)


def test_the_test_rejects_where_the_interval_does_not_hold_zero() -> None:
    for shift in np.linspace(-1, 1, 21):
        sample = crossed(3, 30, 0.2, 0.5, seed=4)
        assert sample.draws is not None
        found = estimate(Sample(sample.seeds, sample.values + shift, sample.draws + shift, 30))
        low, high = found.interval()
        assert found.p is not None
        assert (found.p < 0.05) == (not low <= 0 <= high)


@pytest.mark.parametrize(("scale", "low", "high"), [("logit", 0.0, 1.0), ("log", 0.0, np.inf)])
def test_a_scale_keeps_the_ends_where_values_can_be(scale: str, low: float, high: float) -> None:
    wide = Estimate(0.98, 3, 0.05, 0.0, 30.0)
    ends = wide.interval(scale)  # type: ignore[arg-type]
    assert low < ends[0] < 0.98 < ends[1] < high
    small = Estimate(0.6, 9, 1e-4, 0.0, 30.0)
    assert small.interval(scale) == pytest.approx(small.interval(), abs=1e-6)  # type: ignore[arg-type]
    assert Estimate(1.0, 3, 0.0, 0.0, 30.0).interval("logit") == (1.0, 1.0)


def test_draws_without_a_class_are_left_out() -> None:
    sample = crossed(3, 30, 0.1, 0.5)
    assert sample.draws is not None
    holes = sample.draws.copy()
    holes[0, :10] = np.nan
    expected = estimate(Sample(sample.seeds, sample.values, sample.draws[:, 10:], 30))
    assert estimate(Sample(sample.seeds, sample.values, holes, 30)) == expected


def test_differences_are_paired_by_seed_and_draw() -> None:
    one, other = crossed(4, 30, 0.3, 1.0), crossed(4, 30, 0.3, 1.0)
    same = difference(one, other)
    assert (same.values == 0).all()
    assert same.draws is not None
    assert (same.draws == 0).all()
    assert estimate(same).p is None
    later = Sample((2, 3, 7), VALUES[:3])
    assert difference(Sample((0, 2, 3), VALUES[1:]), later).seeds == (2, 3)
    np.testing.assert_allclose(difference(Sample((0, 2, 3), VALUES[1:]), later).values, VALUES[2:] - VALUES[:2])
    assert difference(Sample((0,), VALUES[:1]), later).seeds == ()


def test_a_mean_is_known_by_users_only_where_all_are() -> None:
    known, unknown = crossed(3, 30, 0.1, 0.5), Sample((0, 1, 2), VALUES[:3])
    assert mean(known, known).draws is not None
    assert mean(known, unknown).draws is None
    np.testing.assert_allclose(mean(known, unknown).values, (known.values + VALUES[:3]) / 2)
    assert combined(np.add, known, crossed(3, 30, 0, 0)).users == 30


def test_so_many_seeds_show_a_difference() -> None:
    gap = Estimate(0.0, 3, 0.001, 0.0, 30.0)
    needed = seeds_needed(gap)
    assert needed is not None
    assert 8 <= needed <= 12  # a t test of one standard deviation at .05 and power .8: 10
    draw = np.random.default_rng(0)
    found = stats.ttest_1samp(draw.normal(0.001, 0.001, (4000, needed)), 0, axis=1).pvalue < 0.05
    assert 0.78 < found.mean() < 0.87
    assert seeds_needed(Estimate(0.0, 3, 0.001, 0.001**2, 30.0)) is None  # the noise of users is there to stay
    assert seeds_needed(Estimate(0.0, 1, float("nan"), 0.001**2, 30.0)) is None
