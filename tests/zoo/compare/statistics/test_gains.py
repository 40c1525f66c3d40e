import numpy as np
import pytest

from mtlzoo.compare.statistics.frontier import margin
from mtlzoo.compare.statistics.gains import average_ranks, delta_m, relaimpr
from mtlzoo.compare.statistics.holm import holm
from mtlzoo.compare.statistics.intervals import Estimate
from mtlzoo.compare.statistics.ranks import ranks_over_blocks
from mtlzoo.compare.statistics.sample import Sample


def test_holm_is_that_of_statsmodels() -> None:
    # statsmodels.stats.multitest.multipletests(p, method="holm")[1], version 0.15
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.3, 0.9, 0.0002]) == pytest.approx([0.6, 0.9, 0.0006])
    assert holm([0.5, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_shown_tests_count_as_some_of_all() -> None:
    every = holm([0.001, 0.02, 0.2, 0.3, 0.5, 0.9])
    shown = holm([0.001, 0.02], tests=6)
    assert shown == pytest.approx(every[:2])


def test_gains_are_signed_by_the_direction() -> None:
    auc, rmse = Sample((0, 1), np.array([0.55, 0.55])), Sample((0, 1), np.array([0.9, 1.1]))
    base = [Sample((0, 1), np.array([0.5, 0.5])), Sample((0, 1), np.array([1.0, 1.0]))]
    np.testing.assert_allclose(delta_m([auc, rmse], base, [True, False]).values, [10.0, 0.0])


def test_a_gain_over_nothing_is_undefined() -> None:
    """A draw of the users may leave a baseline of 0."""
    ours, base = Sample((0, 1), np.array([0.5, 0.6]), np.full((2, 3), 0.5), 9), np.array([[0.0, 0.2, 0.4]] * 2)
    found = delta_m([ours], [Sample((0, 1), np.array([0.0, 0.4]), base, 9)], [True])
    assert np.isnan(found.values[0])
    assert found.values[1] == pytest.approx(50.0)
    assert found.defined.shape == (2, 2)


def test_relaimpr_is_over_chance() -> None:
    assert relaimpr(0.75, 0.7) == pytest.approx(0.25)
    assert relaimpr(0.75, 0.5) is None


def test_ranks_share_ties_and_average_over_seeds() -> None:
    samples = [Sample((0, 1), np.array(v)) for v in ([0.7, 0.9], [0.7, 0.8], [0.6, 1.0])]
    assert average_ranks(samples, True) == [1.75, 2.25, 2.0]
    assert average_ranks(samples, False) == [2.25, 1.75, 2.0]
    apart = [Sample((0,), np.array([0.7])), Sample((1,), np.array([0.8]))]
    assert average_ranks(apart, True) == [2.0, 1.0]


def test_friedman_and_nemenyi_are_those_of_demsar() -> None:
    # Demsar 2006, section 3.2: 4 classifiers on 14 data sets have a critical difference of 1.25 at .05.
    draw = np.random.default_rng(0)
    found = ranks_over_blocks("ABCD", np.arange(4)[:, None] + draw.normal(size=(4, 14)))
    assert found.critical == pytest.approx(1.25, abs=0.005)
    assert found.names[0] == "D"
    assert found.p < 0.01
    with pytest.raises(ValueError, match="4 contenders over 3 data sets x tasks say nothing"):
        ranks_over_blocks("ABCD", np.zeros((4, 3)))


def gap(value: float) -> Estimate:
    return Estimate(value, 5, 0.002, 0.0, 40.0)


def test_a_rule_leaves_the_front_only_where_every_point_is_worse_somewhere() -> None:
    beyond = margin([[gap(0.02), gap(-0.01)], [gap(-0.02), gap(0.03)]])
    assert (beyond.value, beyond.nearest) == (0.02, 0)
    assert 0 < beyond.low < 0.02
    behind = margin([[gap(0.02), gap(-0.01)], [gap(-0.001), gap(-0.002)]])
    assert (behind.value, behind.nearest) == (-0.001, 1)
    assert behind.low < behind.value


def test_of_many_rules_each_needs_more() -> None:
    points = [[gap(0.01), gap(0.0)]]
    assert margin(points, rules=10).low < margin(points).low


def test_one_seed_says_nothing_of_the_front() -> None:
    single = Estimate(0.02, 1, float("nan"), 1e-6, 40.0)
    assert np.isnan(margin([[single, single]]).low)
