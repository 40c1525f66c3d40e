import math

import pytest
import torch

from mtlzoo.analysis.cold_start import BucketMetrics, bucket_names, buckets_of, count_rows, side_by_side
from mtlzoo.tasks import Task

NAN = math.nan


def test_buckets_have_names_and_inclusive_upper_bounds() -> None:
    assert bucket_names((0, 5, 20, 100)) == ["0", "1-5", "6-20", "21-100", ">100"]
    assert bucket_names((3, 4)) == ["0-3", "4", ">4"]
    counts = torch.tensor([0, 1, 5, 6, 20, 21, 100, 101, 10**6])
    assert buckets_of(counts, (0, 5, 20, 100)).tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("edges", [(), (-1, 3), (3, 3), (5, 1)])
def test_edges_that_do_not_rise_are_refused(edges: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"edges=.*; allowed are rising whole numbers"):
        bucket_names(edges)


def test_rows_are_counted_by_id_without_unknown_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtlzoo.analysis.cold_start.CHUNK", 3)
    ids = torch.tensor([2, 2, 3, 1, 0, 2, 5, 1], dtype=torch.int32)
    assert count_rows(ids, 7).tolist() == [0, 0, 3, 1, 0, 1, 0]


def test_rows_that_were_made_up_do_not_count() -> None:
    ids = torch.tensor([2, 2, 3, 3, 4], dtype=torch.int32)
    happened = torch.tensor([1.0, 0.0, 0.0, 0.0, NAN])  # not observed is not made up
    assert count_rows(ids, 5, happened).tolist() == [0, 0, 1, 0, 1]


def test_a_regression_has_the_error_of_each_bucket() -> None:
    metrics = BucketMetrics(Task("stars", "regression", center=3.0, scale=2.0), 3)
    buckets = torch.tensor([0, 0, 2, 2, 0])
    logits = torch.tensor([0.0, 0.5, 1.0, 0.0, 9.0])  # 3, 4, 5, 3, -
    labels = torch.tensor([4.0, 6.0, 5.0, 6.0, NAN])[:, None]
    metrics.update(buckets[:2], logits[:2], labels[:2])
    metrics.update(buckets[2:], logits[2:], labels[2:])
    (first, rows), (none, zero), (last, two) = metrics.compute()
    assert (rows, zero, two) == (2, 0, 2)
    assert first == pytest.approx(math.sqrt((1 + 4) / 2))
    assert last == pytest.approx(math.sqrt((0 + 9) / 2))
    assert math.isnan(none)


def test_a_binary_task_has_the_auc_within_each_bucket() -> None:
    metrics = BucketMetrics(Task("click"), 2)
    logits = torch.tensor([0.1, 0.9, 0.5, -3.0, 7.0, 0.3])
    labels = torch.tensor([0.0, 1.0, 1.0, 1.0, 0.0, 0.0])[:, None]
    metrics.update(torch.tensor([0, 0, 0, 1, 1, 0]), logits, labels, torch.tensor([1.0, 1.0, 1.0, 2.0, 1.0, 0.5]))
    assert metrics.compute() == [(1.0, 4), (0.0, 2)]


def test_a_multilabel_task_has_the_f1_of_each_bucket_and_counts_rows() -> None:
    metrics = BucketMetrics(Task("genres", "multilabel", classes=2), 2)
    logits = torch.tensor([[5.0, -5.0], [5.0, 5.0], [1.0, 1.0]])
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [NAN, NAN]])
    metrics.update(torch.tensor([0, 1, 1]), logits, labels)
    assert metrics.compute() == [(1.0, 1), (pytest.approx(2 * 1 / 3), 1)]


def row(task: str, value: float, rows: int = 10) -> dict[str, object]:
    return {"side": "user", "bucket": "0", "task": task, "metric": "auc", "value": value, "rows": rows}


def test_runs_side_by_side_are_averaged_by_name() -> None:
    table = side_by_side({"A": [[row("click", 0.6)], [row("click", 0.8)]], "B": [[row("click", 0.5)]]})
    assert [(r["run"], r["runs"], round(r["value"], 6)) for r in table] == [("A", 2, 0.7), ("B", 1, 0.5)]
    assert table[0]["std"] == pytest.approx(math.sqrt(0.02))
    assert math.isnan(table[1]["std"])


def test_runs_on_other_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="B has 11 rows of click / user / 0, A has 10"):
        side_by_side({"A": [[row("click", 0.6)]], "B": [[row("click", 0.5, rows=11)]]})
