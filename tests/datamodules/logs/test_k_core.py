import random
from collections import Counter
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest

from mtlzoo.datamodules import DataError
from mtlzoo.datamodules.logs import core_of
from mtlzoo.datamodules.logs import k_core as core
from mtlzoo.datamodules.logs.k_core import k_core


def log(seed: int, rows: int = 400) -> pl.DataFrame:
    draw = random.Random(seed)
    users = [f"u{int(draw.expovariate(0.08))}" for _ in range(rows)]
    return pl.DataFrame({"user": users, "item": [f"i{int(draw.expovariate(0.12))}" for _ in range(rows)]})


def largest(frame: pl.DataFrame, k: int) -> list[bool]:
    """One row after the other: the largest core does not depend on the order in which rows are taken out."""
    pairs = list(enumerate(frame.rows()))
    while True:
        users, items = Counter(user for _, (user, _) in pairs), Counter(item for _, (_, item) in pairs)
        poor = [place for place, (_, (user, item)) in enumerate(pairs) if users[user] < k or items[item] < k]
        if not poor:
            kept = {row for row, _ in pairs}
            return [row in kept for row in range(len(frame))]
        del pairs[poor[-1]]


@pytest.mark.parametrize("k", [1, 2, 5, 9])
@pytest.mark.parametrize("pending", [1, 50, 1 << 20])
def test_is_the_largest_set_in_which_everybody_has_enough(
    monkeypatch: pytest.MonkeyPatch, k: int, pending: int
) -> None:
    monkeypatch.setattr(core, "_PENDING", pending)  # rows are numbered a part at a time
    for seed in range(3):
        frame = log(seed)
        expected = largest(frame, k)
        assert k_core(frame.iter_slices(37), k).tolist() == expected
        assert k == 1 or 0 < sum(expected) < len(frame)
        numbers = frame.select(pl.col("user").str.slice(1).cast(pl.Int64), pl.col("item").str.slice(1).cast(pl.Int64))
        assert k_core([numbers], k).tolist() == expected


def test_goes_on_until_nothing_changes() -> None:
    """A chain: taking out its end makes the next one poor, all the way."""
    chain = pl.DataFrame({"user": np.arange(50).repeat(2)[:-1], "item": (np.arange(99) + 1) // 2})
    pair = pl.DataFrame({"user": [90, 90, 91, 91], "item": [90, 91, 90, 91]})
    assert k_core([chain, pair], 2).tolist() == [False] * 99 + [True] * 4


def test_an_empty_log_has_an_empty_core() -> None:
    assert len(k_core([], 3)) == 0


def test_rows_of_the_core_stay_in_order_with_all_columns() -> None:
    frame = log(0).with_row_index("row")

    def read() -> Iterator[pl.DataFrame]:
        return frame.iter_slices(30)

    rows = core_of(read, 4)
    assert pl.concat(rows()).equals(frame.filter(pl.Series(largest(frame.drop("row"), 4))))
    assert pl.concat(rows()).equals(pl.concat(rows())), "it can be read again"
    assert core_of(read, 0) is read


def test_a_core_without_rows_is_refused() -> None:
    with pytest.raises(DataError, match=r"core=99: none of the 400 rows is left\. Lower it"):
        core_of(lambda: iter([log(0)]), 99)
