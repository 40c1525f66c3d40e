"""Cold start: how well are users and items served of whom train has no, few or many rows?

Users (and items) are put into buckets by the rows of train that show them; every bucket gets the main metric of every
task on the rows of test that belong to it. An id that train does not have, or not often enough for its vocabulary, is
one of no rows.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from mtlzoo.metrics.auc import AUC
from mtlzoo.metrics.base import DoubleMetric, silent_without_rows
from mtlzoo.metrics.classification import Classification
from mtlzoo.metrics.regression import RegressionError
from mtlzoo.schema import FIRST_KNOWN
from mtlzoo.tasks import Task

EDGES = (0, 5, 20, 100)
"""Upper bounds, inclusive, of all buckets but the last."""
MAIN = {"binary": "auc", "regression": "rmse", "multiclass": "accuracy", "multilabel": "f1_micro"}
"""The metric that a bucket gets, by the kind of the task; tasks of other kinds have no labels in rows."""
CHUNK = 2**22
Row: TypeAlias = dict[str, Any]


def bucket_names(edges: Sequence[int]) -> list[str]:
    """``0``, ``1-5``, ``6-20``, ``21-100``, ``>100``.

    Raises:
        ValueError: Edges that are no rising whole numbers from 0.
    """
    edges = list(edges)
    if not edges or edges[0] < 0 or any(high <= low for low, high in pairwise(edges)):
        raise ValueError(f"edges={edges}; allowed are rising whole numbers >= 0, such as {list(EDGES)}.")
    lows = [0, *(edge + 1 for edge in edges[:-1])]
    names = [f"{low}-{high}" if low < high else str(high) for low, high in zip(lows, edges, strict=True)]
    return [*names, f">{edges[-1]}"]


def buckets_of(counts: Tensor, edges: Sequence[int]) -> Tensor:
    """Place in `bucket_names` of each count."""
    return torch.bucketize(counts, torch.tensor(list(edges), device=counts.device))


def count_rows(ids: Tensor, cardinality: int, happened: Tensor | None = None) -> Tensor:
    """Rows of train by id, int64 [cardinality]; 0 for padding and unknown.

    Args:
        ids: The ids of one column of train, int [N]; may be memory-mapped.
        cardinality: Number of ids.
        happened: Labels [N] that are 0 where a row was made up (a sampled negative) and does not count.
    """
    counts = torch.zeros(cardinality, dtype=torch.int64)
    for start in range(0, len(ids), CHUNK):
        some = ids[start : start + CHUNK].long()
        if happened is not None:
            some = some[happened[start : start + CHUNK] != 0]
        counts += torch.bincount(some, minlength=cardinality)
    counts[:FIRST_KNOWN] = 0
    return counts


class ObservedRows(DoubleMetric):
    """Rows of each bucket that observe a task."""

    rows: Tensor

    def __init__(self, buckets: int) -> None:
        super().__init__()
        self.add_state("rows", torch.zeros(buckets, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, buckets: Tensor) -> None:
        """Add rows by the bucket of each, int [n]."""
        self.rows = self.rows + torch.bincount(buckets, minlength=len(self.rows))

    def compute(self) -> Tensor:
        """Float64 [buckets], over all processes."""
        return self.rows


class BucketMetrics(nn.Module):
    """The main metric of one task in every bucket, as a stream of rows comes; exact over processes.

    Args:
        task: Of a kind in `MAIN`.
        buckets: Their number.
    """

    def __init__(self, task: Task, buckets: int) -> None:
        super().__init__()
        self.task = task
        self.rows = ObservedRows(buckets)
        self.metrics = nn.ModuleList(_metric(task) for _ in range(buckets))

    def update(self, buckets: Tensor, logits: Tensor, labels: Tensor, weight: Tensor | None = None) -> None:
        """Add a batch: buckets int [B], logits as the model gives them, labels [B, width], weight [B] or None."""
        known = ~labels.isnan().all(1)
        self.rows.update(buckets[known])
        scores = logits if self.task.kind == "binary" else self.task.predict(logits.float())
        if self.task.label_width == 1:
            labels = labels.reshape(-1)
        if self.task.outputs == 1:
            scores = scores.reshape(-1)
        for number in buckets[known].unique().tolist():
            chosen = known & (buckets == number)
            mass = None if weight is None else weight[chosen]
            cast(Metric, self.metrics[number]).update(scores[chosen], labels[chosen], mass)

    def compute(self) -> list[tuple[float, int]]:
        """Value (NaN where undefined) and observed rows of every bucket; all processes must call."""
        key = MAIN[self.task.kind]
        with silent_without_rows():
            values = [float(cast(Metric, metric).compute()[key]) for metric in self.metrics]
            rows = self.rows.compute().tolist()
        return list(zip(values, map(int, rows), strict=True))


def side_by_side(runs: Mapping[str, Sequence[Sequence[Row]]]) -> list[Row]:
    """One table of several runs' tables: means over the runs of each name, and their deviation.

    Args:
        runs: By name, the tables of its runs (seeds): rows with side, bucket, task, metric, value and rows.

    Returns:
        Rows with also run, runs and std (sample deviation; NaN for one run).

    Raises:
        ValueError: Runs that were not tested on the same rows.
    """
    table, sizes = [], dict[tuple[str, str, str], tuple[int, str]]()
    for name, tables in runs.items():
        cells: dict[tuple[str, str, str], list[Row]] = {}
        for row in (row for one in tables for row in one):
            cells.setdefault((row["task"], row["side"], row["bucket"]), []).append(row)
        for cell, rows in cells.items():
            for row in rows:
                number, first = sizes.setdefault(cell, (int(row["rows"]), name))
                if number != int(row["rows"]):
                    raise ValueError(
                        f"{name} has {row['rows']} rows of {' / '.join(cell)}, {first} has {number}. Compare runs on "
                        "the same data, split and edges."
                    )
            values = torch.tensor([float(row["value"]) for row in rows], dtype=torch.float64)
            std = float(values.std()) if len(rows) > 1 else float("nan")
            table.append({**rows[0], "run": name, "runs": len(rows), "value": float(values.mean()), "std": std})
    return table


def _metric(task: Task) -> Metric:
    if task.kind == "binary":
        return AUC(2**18)
    if task.kind == "regression":
        return RegressionError()
    return Classification(cast(Any, task.kind), task.classes)
