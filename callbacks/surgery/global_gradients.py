"""Per-task gradients of the global batch: what several processes agree on before a rule sees anything."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from mtlzoo.callbacks.collectives import gather_known, in_its_place, largest, world_size
from mtlzoo.callbacks.surgery.combine import spread
from mtlzoo.callbacks.surgery.merging import Merging, settle
from mtlzoo.callbacks.surgery.reals import real, zeros
from mtlzoo.callbacks.surgery.rows import Rows
from mtlzoo.callbacks.surgery.task_gradients import ParameterGradients, TaskGradients


def average(gradients: TaskGradients, parameters: Sequence[Tensor], tasks: int) -> None:
    """Replaces per-task gradients by their means over the processes; all processes call it at once.

    Processes may differ in which tasks reach which parameters: a task that one rank alone observed, a table that one
    rank alone looked up. They first agree on that, and tell each other how many rows of each table they have, in one
    message. Then dense gradients travel in one buffer, those of tables by row. The host waits for the device twice: for
    that message, and for how many rows all processes touch.

    Args:
        gradients: Settled.
        parameters: All parameters that train, in the same order everywhere.
        tasks: T.
    """
    entries = [gradients.of.setdefault(parameter, ParameterGradients()) for parameter in parameters]
    facts = [
        [
            *(entry.tasks >> task & 1 for task in range(tasks)),
            *(bool(entry.dense), bool(entry.rows), entry.sparse, not entry.certain),
            *in_its_place(len(entry.rows[0].index) if entry.rows else 0),
        ]
        for entry in entries
    ]
    dense: list[tuple[Tensor, ParameterGradients, list[int]]] = []
    rows: list[tuple[Tensor, ParameterGradients, list[int]]] = []
    lengths: list[list[int]] = []
    for parameter, entry, found in zip(parameters, entries, largest(facts, parameters[0].device), strict=True):
        has_dense, has_rows, sparse, uncertain = found[tasks : tasks + 4]
        present = [task for task in range(tasks) if found[task]]
        entry.tasks, entry.sparse = sum(1 << task for task in present), bool(sparse)
        entry.certain = not uncertain
        if has_dense and present:
            if entry.rows:  # another process reads the table otherwise than by lookups
                entry.dense.setdefault(present[0], zeros(parameter))
                entry.settle(parameter)
            dense.append((parameter, entry, present))
        elif has_rows and present:
            rows.append((parameter, entry, present))
            lengths.append(found[tasks + 4 :])
        if not present and entry.certain:
            del gradients.of[parameter]
    _average_rows(rows, lengths)
    _average_dense(dense)


def average_grads(parameters: Sequence[Tensor]) -> None:
    """Replaces ``.grad`` by its mean over the processes, dense or sparse; all processes call it at once."""
    gradients = TaskGradients()
    sparse = {p: p.grad for p in parameters if p.grad is not None and p.grad.is_sparse}
    mergings = {p: Merging([gradient._indices()[0]]) for p, gradient in sparse.items()}
    settle(list(mergings.values()))
    for parameter in parameters:
        if (merging := mergings.get(parameter)) is not None:
            rows = Rows(merging.index, {0: merging([sparse[parameter]._values()])})
            gradients.of[parameter] = ParameterGradients(1, rows=[rows], sparse=True)
        elif parameter.grad is not None:
            gradients.of[parameter] = ParameterGradients(1, dense={0: real(parameter.grad)})
    average(gradients, parameters, 1)
    for parameter, entry in gradients:
        parameter.grad = spread(parameter, entry, (entry.rows[0].values if entry.rows else entry.dense)[0])


def _average_rows(
    tables: Sequence[tuple[Tensor, ParameterGradients, list[int]]], lengths: Sequence[Sequence[int]]
) -> None:
    owns = [entry.rows[0] if entry.rows else _none_of(parameter) for parameter, entry, _ in tables]
    numbers = torch.int32 if all(len(parameter) < 2**31 for parameter, _, _ in tables) else torch.int64
    index = gather_known([own.index.to(numbers) for own in owns], lengths)
    stacked = (
        _stacked(own, parameter, tasks) / world_size() for (parameter, _, tasks), own in zip(tables, owns, strict=True)
    )
    mergings = [Merging(parts) for parts in index]
    settle(mergings)
    for (_, entry, tasks), merging, values in zip(tables, mergings, gather_known(stacked, lengths), strict=True):
        entry.rows = [Rows(merging.index, dict(zip(tasks, merging(values).unbind(1), strict=True)))]


def _none_of(table: Tensor) -> Rows:
    return Rows(torch.empty(0, dtype=torch.int64, device=table.device), {})


def _stacked(own: Rows, table: Tensor, tasks: Sequence[int]) -> Tensor:
    """[U, tasks, dim]; zero for tasks that don't reach the table in this process."""
    missing = table.detach().new_zeros(len(own.index), table.shape[1])
    return torch.stack([own.values.get(task, missing) for task in tasks], 1)


def _average_dense(dense: Sequence[tuple[Tensor, ParameterGradients, list[int]]]) -> None:
    if not dense:
        return
    pieces = [
        (entry.dense[task] if task in entry.dense else zeros(parameter)).reshape(-1)
        for parameter, entry, tasks in dense
        for task in tasks
    ]
    for dtype in sorted({piece.dtype for piece in pieces}, key=str):
        buffer = torch.cat([piece for piece in pieces if piece.dtype == dtype])
        dist.all_reduce(buffer)
        buffer /= world_size()
        parts = iter(buffer.split([piece.numel() for piece in pieces if piece.dtype == dtype]))
        for parameter, entry, tasks in dense:
            if parameter.dtype.to_real() == dtype:
                entry.dense = {task: next(parts).view_as(real(parameter.detach())) for task in tasks}
