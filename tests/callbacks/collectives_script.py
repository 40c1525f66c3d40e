"""What processes tell each other, against what all of them have: every process draws the others' numbers, too.

``python collectives_script.py OUT``, once per rank, with RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT. What went wrong
raises; how many messages were sent goes to OUT.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mtlzoo.callbacks import collectives
from mtlzoo.callbacks.surgery.global_gradients import average
from mtlzoo.callbacks.surgery.rows import Rows
from mtlzoo.callbacks.surgery.task_gradients import ParameterGradients, TaskGradients
from mtlzoo.training.distributed import mean_sparse_gradients

RANK, WORLD = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
MESSAGES = ("all_reduce", "all_gather", "broadcast")
ROWS, DIM, TASKS = 40, 3, 3


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Counts messages by kind."""
    counts: Counter[str] = Counter()
    before = {name: getattr(dist, name) for name in MESSAGES}

    def counting(name: str) -> Any:
        def send(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return before[name](*args, **kwargs)

        return send

    for name in MESSAGES:
        setattr(dist, name, counting(name))
    try:
        yield counts
    finally:
        for name, send in before.items():
            setattr(dist, name, send)


def drawn(rank: int) -> list[Tensor]:
    """Tensors of a process: some types and shapes, as many rows as its number, one with rows of a process alone."""
    torch.manual_seed(rank)
    n = 3 * rank
    return [
        torch.randn(n),
        torch.randn(n + 1, 2, 3),
        torch.randint(0, 9, (5 - rank, 2), dtype=torch.int32),
        torch.rand(n) < 0.5,
        torch.randn(4 if rank == 1 else 0, 2, dtype=torch.float64),
        torch.empty(0, 7),
    ]


def tensors() -> dict[str, int]:
    """Everybody gets everybody's."""
    with counted() as counts:
        found = collectives.gather(drawn(RANK))
    for number, parts in enumerate(found):
        for rank, part in enumerate(parts):
            wanted = drawn(rank)[number]
            assert part.dtype == wanted.dtype
            assert part.shape == wanted.shape
            assert torch.equal(part, wanted)
    return dict(counts)


def large_tensors() -> dict[str, int]:
    """The same where a message holds 64 bytes."""
    before, collectives._SHARED_MESSAGE = collectives._SHARED_MESSAGE, 64
    try:
        return tensors()
    finally:
        collectives._SHARED_MESSAGE = before


def sparse(rank: int, table: int) -> Tensor | None:
    """A process's gradient of a table, with rows that come twice; None of one that it did not look up."""
    generator = torch.Generator().manual_seed(10 * rank + table)
    if table == 3 or (table == 1 and rank != 1):
        return None
    entries = 0 if table == 2 and rank == 0 else 5 + 4 * rank
    index = torch.randint(0, ROWS, (1, entries), generator=generator)
    return torch.sparse_coo_tensor(index, torch.randn(entries, DIM, generator=generator), (ROWS, DIM))


def sparse_tables() -> dict[str, int]:
    """All look up the first table, one the second, all but one (whose part has no rows) the third, none the last."""
    tables = [torch.zeros(ROWS, DIM, requires_grad=True) for _ in range(4)]
    for number, table in enumerate(tables):
        table.grad = sparse(RANK, number)
    with counted() as counts:
        mean_sparse_gradients(tables)
    for number, table in enumerate(tables):
        every = [gradient for rank in range(WORLD) if (gradient := sparse(rank, number)) is not None]
        assert (table.grad is None) == (not every)
        if table.grad is not None:
            wanted = sum((gradient.to_dense() for gradient in every), torch.zeros(ROWS, DIM)) / WORLD
            torch.testing.assert_close(table.grad.to_dense(), wanted)
    return dict(counts)


def by_task(rank: int, kind: str) -> ParameterGradients | None:
    """A process's gradients of a parameter."""
    generator = torch.Generator().manual_seed(100 * rank + sum(map(ord, kind)))

    def rows(tasks: list[int], touched: int, **more: Any) -> ParameterGradients:
        index = torch.randperm(ROWS, generator=generator)[:touched].sort().values
        values = {task: torch.randn(touched, DIM, generator=generator) for task in tasks}
        return ParameterGradients(sum(1 << t for t in tasks), rows=[Rows(index, values)], **more)

    def whole(tasks: list[int], **more: Any) -> ParameterGradients:
        dense = {task: torch.randn(ROWS, DIM, generator=generator) for task in tasks}
        return ParameterGradients(sum(1 << t for t in tasks), dense=dense, **more)

    made: dict[str, Callable[[], ParameterGradients | None]] = {
        "uneven rows": lambda: rows([0, 1], 2 + 9 * rank, sparse=True),
        "a task of one process": lambda: rows([0, 2] if rank == 1 else [0], 7),
        "a table of one process": lambda: rows([1], 5, sparse=True) if rank == 1 else None,
        "no rows in one process": lambda: rows([0], 0 if rank == 0 else 3),
        "no rows": lambda: rows([1], 0),
        "by lookups in one process": lambda: rows([0, 1], 4) if rank == 0 else whole([1]),
        "dense": lambda: whole([0, 1, 2]),
        "of a joint loss": lambda: whole([rank % TASKS], certain=False),
        "of nobody": lambda: None,
    }
    return made[kind]()


KINDS = [
    *("uneven rows", "a task of one process", "a table of one process", "no rows in one process", "no rows"),
    *("by lookups in one process", "dense", "of a joint loss", "of nobody"),
]


def dense_of(entry: ParameterGradients | None, task: int) -> Tensor:
    """A task's gradient as a whole table."""
    total = torch.zeros(ROWS, DIM)
    for part in entry.rows if entry is not None else ():
        if task in part.values:
            total.index_add_(0, part.index, part.values[task])
    return total + entry.dense[task] if entry is not None and task in entry.dense else total


def tasks() -> dict[str, int]:
    """Means over the processes by task, in the same form and with the same bits everywhere."""
    parameters = [torch.zeros(ROWS, DIM, requires_grad=True) for _ in KINDS]
    gradients = TaskGradients()
    for kind, parameter in zip(KINDS, parameters, strict=True):
        if (entry := by_task(RANK, kind)) is not None:
            gradients.of[parameter] = entry
    with counted() as counts:
        average(gradients, parameters, TASKS)
    for kind, parameter in zip(KINDS, parameters, strict=True):
        every = [by_task(rank, kind) for rank in range(WORLD)]
        there = [entry for entry in every if entry is not None]
        assert (parameter in gradients.of) == bool(there), kind
        if not there:
            continue
        entry = gradients.of[parameter]
        assert entry.tasks == entry.tasks | there[0].tasks, kind
        assert entry.sparse == there[0].sparse, kind
        assert entry.certain == there[0].certain, kind
        assert bool(entry.rows) == (not any(one.dense for one in there)), kind
        for task in range(TASKS):
            wanted = sum((dense_of(one, task) for one in every), torch.zeros(ROWS, DIM)) / WORLD
            torch.testing.assert_close(dense_of(entry, task), wanted, msg=kind)
            mine = dense_of(entry, task)
            others = [torch.empty_like(mine) for _ in range(WORLD)]
            dist.all_gather(others, mine)
            assert all(torch.equal(other, mine) for other in others), kind
    return dict(counts)


def main(out: Path) -> None:
    dist.init_process_group("gloo", rank=RANK, world_size=WORLD)
    cases = (tensors, large_tensors, sparse_tables, tasks)
    torch.save({case.__name__: case() for case in cases}, out / f"rank{RANK}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
