from typing import Any

import numpy as np
import polars as pl
import pytest

from mtlzoo.datamodules import Synthetic
from mtlzoo.datamodules.synthetic import BLOCK, RATES, _World


def rows_of(data: Synthetic, blocks: int = 4) -> pl.DataFrame:
    return pl.concat(data.read(blocks))


def scores_of(data: Synthetic) -> tuple[Any, Any]:
    """Scores [task, row] and the users of a sample of rows."""
    world = _World(data)
    user, item, tab = world._rows(np.random.default_rng(1))
    return world._scores(user, item, tab), user


@pytest.mark.slow
def test_rates_are_those_measured_on_kuairand() -> None:
    rows = rows_of(Synthetic(1_000_000, tasks=8, users=20_000, items=5_000))
    for name, rate in RATES.items():
        assert rows[name].mean() == pytest.approx(rate, rel=0.05, abs=2e-4), name


def test_rates_may_be_set() -> None:
    rows = rows_of(Synthetic(200_000, tasks=2, rates=[0.05, 0.7]))
    assert rows["is_click"].mean() == pytest.approx(0.05, abs=0.005)
    assert rows["long_view"].mean() == pytest.approx(0.7, abs=0.01)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_rows_whatever_the_chunks() -> None:
    data = Synthetic(2 * BLOCK + 17)
    whole = rows_of(data, blocks=4)
    assert len(whole) == 2 * BLOCK + 17
    assert whole.equals(rows_of(data, blocks=1))
    assert whole.equals(rows_of(Synthetic(2 * BLOCK + 17), blocks=2))
    assert not whole.equals(rows_of(Synthetic(2 * BLOCK + 17, seed=1)))


def test_more_rows_begin_with_the_same_rows() -> None:
    few, many = rows_of(Synthetic(1000)), rows_of(Synthetic(100_000))
    assert few.drop("day").equals(many.head(1000).drop("day"))


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_correlation_is_that_of_the_scores(correlation: float) -> None:
    scores, _ = scores_of(Synthetic(tasks=3, correlation=correlation, users=20_000, items=20_000))
    measured = np.corrcoef(scores)[np.triu_indices(3, 1)]
    np.testing.assert_allclose(measured, correlation, atol=0.05)


def test_conflict_is_the_share_of_users_on_whom_tasks_are_opposed() -> None:
    data = Synthetic(tasks=3, correlation=0.8, conflict=0.3, users=20_000, items=20_000)
    scores, user = scores_of(data)
    opposed = _World(data).opposed[user]
    assert opposed.mean() == pytest.approx(0.3, abs=0.02)
    agree, oppose = np.corrcoef(scores[:, ~opposed]), np.corrcoef(scores[:, opposed])
    assert agree[0, 1] == pytest.approx(0.8, abs=0.05)
    assert oppose[0, 1] == pytest.approx(-0.8, abs=0.05)
    assert oppose[0, 2] == pytest.approx(0.8, abs=0.05)  # first and third are on one side
    assert np.corrcoef(scores)[0, 1] == pytest.approx(0.8 * (1 - 2 * 0.3), abs=0.05)


def test_scores_have_unit_variance() -> None:
    scores, _ = scores_of(Synthetic(tasks=3, users=20_000, items=20_000))
    np.testing.assert_allclose(scores.std(1), 1, atol=0.1)


def test_there_is_something_to_learn() -> None:
    """Mean labels of a row's user and item, from train alone, already rank the rows of test."""
    rows = rows_of(Synthetic(200_000)).with_columns(train=pl.col("day") < 24)
    for task in ("is_click", "long_view"):
        means = [
            rows.filter("train").group_by(name).agg(pl.col(task).mean().alias(f"mean_{name}"))
            for name in ("user_id", "video_id")
        ]
        test = rows.filter(~pl.col("train"))
        for mean in means:
            test = test.join(mean, on=mean.columns[0], how="left")
        score = test.select(pl.col("mean_user_id").fill_null(0.4) + pl.col("mean_video_id").fill_null(0.4)).to_series()
        assert _auc(score.to_numpy(), test[task].to_numpy()) > 0.65


def _auc(score: Any, label: Any) -> float:
    rank = pl.Series(score).rank("average").to_numpy()
    positives = label.sum()
    return float((rank[label == 1].sum() - positives * (positives + 1) / 2) / (positives * (len(label) - positives)))


def test_split_by_day() -> None:
    rows = Synthetic(30_000).data.manifest["rows"]
    assert rows == {"train": 24_000, "val": 3_000, "test": 3_000}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": 9}, "give rates="),
        ({"tasks": 2, "rates": [0.1]}, "1 rates for 2 tasks"),
        ({"tasks": 1, "rates": [1.0]}, "below 1"),
        ({"rows": 0}, "rows=0; allowed are whole numbers >= 1"),
        ({"rows": 2.5}, r"rows=2\.5; allowed"),
        ({"users": True}, "users=True; allowed"),
        ({"seed": -1}, "seed=-1; allowed are whole numbers >= 0"),
        ({"seed": 2**70}, "seed=.*; allowed"),
        ({"correlation": float("nan")}, "correlation=nan; allowed"),
        ({"rates": [float("nan")] * 3}, "rates=.*; allowed"),
        ({"correlation": 1.5}, r"correlation=1.5; allowed are numbers in \[0, 1\]"),
        ({"conflict": -0.1}, "conflict=-0.1"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Synthetic(**arguments)


def test_more_tasks_than_kuairand_has() -> None:
    data = Synthetic(1000, tasks=10, rates=[0.3] * 10)
    assert [label.column for label in data.recipe.labels][-2:] == ["task_9", "task_10"]
