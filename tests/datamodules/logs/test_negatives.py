from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mtlzoo.datamodules import DataError
from mtlzoo.datamodules.logs.negatives import NegativeSampler, shuffled


def draw(
    folder: Path, users: pl.Series, items: pl.Series, *, per_row: int = 1, seed: int = 0, chunk: int = 10**6
) -> pl.Series:
    sampler = NegativeSampler(folder, per_row=per_row, seed=seed)
    for start in range(0, len(users), chunk):
        sampler.add(users[start : start + chunk], items[start : start + chunk])
    sampler.finish()
    return sampler.of(range(len(users)))


def log(rows: int, users: int, items: int, seed: int = 0) -> tuple[pl.Series, pl.Series]:
    generator = np.random.default_rng(seed)
    return pl.Series(generator.integers(0, users, rows)), pl.Series(generator.integers(0, items, rows) ** 2)


@pytest.mark.parametrize("per_row", [1, 4])
def test_no_draw_is_an_interaction_and_all_are_items(tmp_path: Path, per_row: int) -> None:
    users, items = log(5000, users=70, items=200)
    drawn = draw(tmp_path / "a", users, items, per_row=per_row)
    real = set(zip(users, items, strict=True))
    made = list(zip(np.repeat(users.to_numpy(), per_row), drawn, strict=True))
    assert len(made) == 5000 * per_row
    assert not real & set(made)
    assert set(drawn) <= set(items)


def test_the_items_of_a_user_repeat_only_when_all_were_drawn(tmp_path: Path) -> None:
    users, items = log(3000, users=20, items=100)
    rows = pl.DataFrame({"user": users, "item": items, "drawn": draw(tmp_path / "a", users, items)})
    for part in rows.partition_by("user"):
        free = items.n_unique() - part["item"].n_unique()
        times = part["drawn"].value_counts()["count"]
        assert times.max() == -(-len(part) // free)
        assert times.min() == len(part) // free or len(times) < free


def test_draws_are_uniform_over_what_the_user_has_not(tmp_path: Path) -> None:
    """Users with the same three items of ten: each of the other seven is drawn as often."""
    users = pl.Series(np.repeat(np.arange(7000), 3))
    items = pl.Series(np.tile([2, 3, 9], 7000))
    others = pl.Series(range(10))  # one user who has all but one, so that all ten are items
    users, items = pl.concat([users, pl.Series([7000] * 9)]), pl.concat([items, others[:9]])
    drawn = draw(tmp_path / "a", users, items)[: 3 * 7000]
    counts = drawn.value_counts().sort("")["count"].to_numpy()
    assert len(counts) == 7
    expected = 3 * 7000 / 7
    assert ((counts - expected) ** 2 / expected).sum() < 25  # chi-square, 6 degrees: beyond 22.5 once in a thousand
    pairs = pl.DataFrame({"a": drawn[::3], "b": drawn[1::3]}).group_by("a", "b").len()
    assert len(pairs) == 42  # also in combination
    assert pairs["len"].min() > 100  # type: ignore[operator]  # 167 on average


def test_chunks_do_not_matter_and_seeds_do(tmp_path: Path) -> None:
    users, items = log(4000, users=90, items=150)
    whole = draw(tmp_path / "a", users, items, per_row=2)
    assert whole.equals(draw(tmp_path / "b", users, items, per_row=2, chunk=333))
    assert not whole.equals(draw(tmp_path / "c", users, items, per_row=2, seed=1))


def test_ids_may_be_text(tmp_path: Path) -> None:
    users, items = (values.cast(pl.String) for values in log(1000, users=30, items=50))
    drawn = draw(tmp_path / "a", users, items)
    assert drawn.dtype == pl.String
    assert not set(zip(users, items, strict=True)) & set(zip(users, drawn, strict=True))


def test_parts_of_the_rows_have_their_own_draws(tmp_path: Path) -> None:
    users, items = log(1000, users=30, items=50)
    sampler = NegativeSampler(tmp_path / "a", per_row=3, seed=0)
    sampler.add(users, items)
    sampler.finish()
    parts = [sampler.of(range(start, min(start + 300, 1000))) for start in range(0, 1000, 300)]
    assert pl.concat(parts).equals(sampler.of(range(1000)))


def test_a_user_who_has_everything_is_named(tmp_path: Path) -> None:
    users, items = pl.Series([5, 5, 6]), pl.Series([1, 2, 1])
    with pytest.raises(DataError, match="User 5 has rows with all 2 items"):
        draw(tmp_path / "a", users, items)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 1000, 4097])
def test_a_shuffled_range_is_one_to_one(size: int) -> None:
    index = np.arange(size)
    for key in range(20):
        order = shuffled(index, np.full(size, size), np.full(size, key, np.uint64))
        assert sorted(order.tolist()) == index.tolist()


def test_every_place_of_a_shuffled_range_is_uniform() -> None:
    keys = np.arange(60_000, dtype=np.uint64)
    for index in range(6):
        order = shuffled(np.full(len(keys), index), np.full(len(keys), 6), keys)
        counts = np.bincount(order.astype(np.int64), minlength=6)
        assert ((counts - 10_000) ** 2 / 10_000).sum() < 25
