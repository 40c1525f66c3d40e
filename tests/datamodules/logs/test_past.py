from typing import Any

import numpy as np
import polars as pl
import pytest

from mtlzoo.datamodules.logs import past as module
from mtlzoo.datamodules.logs.past import HOUR_MS, Past

START = 1_649_347_200_000


def rows_of(seed: int, rows: int = 400, hours: int = 30) -> pl.DataFrame:
    """Rows of a few users in no order, many of them in the same hour and some in the same millisecond."""
    draw = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "user_id": draw.integers(0, 8, rows),
            "time_ms": START + draw.integers(0, hours * 10, rows) * (HOUR_MS // 10),
            "is_click": draw.integers(0, 2, rows),
        }
    )


def counted(log: pl.DataFrame, row: dict[str, Any]) -> tuple[int, float | None]:
    """By the definition, row by row."""
    before = log.filter(
        (pl.col("user_id") == row["user_id"]) & (pl.col("time_ms") < row["time_ms"] // HOUR_MS * HOUR_MS)
    )
    return len(before), before["is_click"].mean() if len(before) else None  # type: ignore[return-value]


@pytest.mark.parametrize("pending", [1 << 20, 16])
def test_counts_what_came_before_the_hour(pending: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PENDING", pending)  # merged once, or after every few rows
    log = rows_of(0)
    found = Past(log.iter_slices(7)).of(log)
    expected = [counted(log, row) for row in log.iter_rows(named=True)]
    assert found["user_shown"].to_list() == [shown for shown, _ in expected]
    assert found["user_click_rate"].to_list() == pytest.approx([rate for _, rate in expected], abs=1e-12)
    assert 0 < found["user_click_rate"].null_count() < len(log) / 2


def test_the_order_of_the_rows_does_not_matter() -> None:
    log = rows_of(1)
    assert Past([log]).of(log).equals(Past(log.sort("time_ms").iter_slices(50)).of(log))


@pytest.mark.parametrize("hour", [0, 5, 20])
def test_neither_the_own_hour_nor_a_later_one_can_be_seen(hour: int) -> None:
    log = rows_of(2)
    first = START + hour * HOUR_MS
    until = log.filter(pl.col("time_ms") < first + HOUR_MS)
    late = pl.col("time_ms") >= first
    other = log.with_columns(is_click=pl.when(late).then(1 - pl.col("is_click")).otherwise("is_click"))
    assert Past([other]).of(until).equals(Past([log]).of(until))
    assert not Past([other]).of(log).equals(Past([log]).of(log))  # but those after it can


def test_rows_that_were_not_counted_have_a_past_too() -> None:
    past = Past([rows_of(3)])
    others = pl.DataFrame({"user_id": [0, 99, None], "time_ms": [START + 99 * HOUR_MS, START + 99 * HOUR_MS, START]})
    found = past.of(others)
    assert found["user_shown"].to_list() == [rows_of(3)["user_id"].to_list().count(0), 0, 0]
    assert found["user_click_rate"].is_null().to_list() == [False, True, True]


def test_without_rows_there_is_no_past() -> None:
    found = Past([]).of(rows_of(4))
    assert set(found["user_shown"]) == {0}
    assert found["user_click_rate"].null_count() == 400
