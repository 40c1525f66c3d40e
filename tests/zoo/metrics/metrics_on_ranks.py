"""Run by test_metrics_ddp.py on every rank: metrics of unequal shards beside those of one process, as JSON.

``python metrics_on_ranks.py FOLDER``, once per rank, with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.
"""

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, distributed

from mtlzoo.metrics import AUC, TaskMetrics, gauc
from mtlzoo.tasks import Task

Batch = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
BATCH = 64


def rows(task: Task, dtype: torch.dtype, weighted: bool) -> Batch:
    generator = torch.Generator().manual_seed(3)
    n = 1500
    draw = torch.randn(n, task.outputs, generator=generator, dtype=dtype).squeeze(-1)
    if task.kind == "multiclass":
        labels = torch.randint(0, task.classes, (n, 1), generator=generator).float()
    elif task.kind == "regression":
        labels = torch.randn(n, 1, generator=generator)
    else:
        labels = torch.randint(0, 2, (n, task.label_width), generator=generator).float()
    labels[torch.rand(labels.shape, generator=generator) < 0.3] = torch.nan
    weight = torch.rand(n, generator=generator) if weighted else None
    return draw, labels, weight, torch.randint(0, 90, (n,), generator=generator) * 10**12


class Small(TaskMetrics):
    """Only an AUC, so small that buckets are joined."""

    def __init__(self, task: Task, *, grouped: bool = False) -> None:
        super().__init__(task, grouped=grouped)
        self.metrics = torch.nn.ModuleDict({"auc": AUC(capacity=200)})


KINDS = {
    "binary": Task("t"),
    "regression": Task("t", "regression", center=3.0, scale=2.0),
    "multiclass": Task("t", "multiclass", classes=4),
    "multilabel": Task("t", "multilabel", classes=3),
}
Make = Callable[[], TaskMetrics]


def cases() -> Iterator[tuple[str, Make, Batch]]:
    for kind, task in KINDS.items():
        for weighted in (False, True):
            data = rows(task, torch.float32, weighted)
            yield f"{kind} weighted={weighted}", partial(TaskMetrics, task, grouped=True), data
    yield "float64", partial(TaskMetrics, KINDS["binary"], grouped=True), rows(KINDS["binary"], torch.float64, False)
    yield "small capacity", partial(Small, KINDS["binary"]), rows(KINDS["binary"], torch.float32, False)


def feed(metrics: TaskMetrics, data: Batch, start: int, end: int) -> None:
    for at in range(start, end, BATCH):
        part = slice(at, min(at + BATCH, end))
        metrics.update(*(None if column is None else column[part] for column in data))


def numbers(metrics: TaskMetrics) -> dict[str, float]:
    return {key: float(value) for key, value in metrics.compute().items()}


def main(out: Path) -> None:
    warnings.simplefilter("ignore")  # a rank without rows, a small capacity
    torch.set_num_threads(1)
    gauc.BLOCK = 64  # so that the ranks keep different numbers of blocks
    # Rows of rank 0 in the first and in the second half of the data; the rest is rank 1's.
    splits = {"unequal": (520, 1100), "rank 1 empty, then all": (750, 750), "rank 0 empty": (0, 750)}
    results: dict[str, list[dict[str, float]]] = {}
    reference = {}
    for name, make, data in cases():
        whole = make()
        feed(whole, data, 0, 750)
        half = numbers(whole)
        feed(whole, data, 750, 1500)
        reference[name] = [half, numbers(whole)]
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    for split, (first, second) in splits.items():
        for name, make, data in cases():
            metrics = make()
            mine = (((0, first), (first, 750))[rank], ((750, second), (second, 1500))[rank])
            feed(metrics, data, *mine[0])
            half = numbers(metrics)
            feed(metrics, data, *mine[1])
            results[f"{name}, {split}"] = [*reference[name], half, numbers(metrics)]
    (out / f"{rank}.json").write_text(json.dumps(results))
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
