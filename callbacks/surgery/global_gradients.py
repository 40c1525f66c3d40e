"""Per-task gradients of the global batch: what several processes agree on before a rule sees anything."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from mtlzoo.callbacks.collectives import gather, world_size
from mtlzoo.callbacks.surgery.combine import spread
from mtlzoo.callbacks.surgery.reals import real, zeros
from mtlzoo.callbacks.surgery.rows import Rows, merge
from mtlzoo.callbacks.surgery.task_gradients import ParameterGradients, TaskGradients


def average(gradients: TaskGradients, parameters: Sequence[Tensor], tasks: int) -> None:
    """Replaces per-task gradients by their means over the processes; all processes call it at once.

    Processes may differ in which tasks reach which parameters: a task that one rank alone observed, a table that one
    rank alone looked up. They first agree on that; then dense gradients travel in one buffer, those of tables by row.

    Args:
        gradients: Settled.
        parameters: All parameters that train, in the same order everywhere.
        tasks: T.
    """
    entries = [gradients.of.setdefault(parameter, ParameterGradients()) for parameter in parameters]
    device = parameters[0].device
    facts = torch.zeros(len(entries), tasks + 4, dtype=torch.uint8)
    for fact, entry in zip(facts, entries, strict=True):
        fact[:tasks] = torch.tensor([entry.tasks >> task & 1 for task in range(tasks)])
        fact[tasks:] = torch.tensor([bool(entry.dense), bool(entry.rows), entry.sparse, not entry.certain])
    facts = facts.to(device)
    dist.all_reduce(facts, dist.ReduceOp.MAX)
    dense: list[tuple[Tensor, ParameterGradients, list[int]]] = []
    for parameter, entry, (*reached, has_dense, has_rows, sparse, uncertain) in zip(
        parameters, entries, facts.tolist(), strict=True
    ):
        entry.tasks, entry.sparse = sum(1 << task for task in range(tasks) if reached[task]), bool(sparse)
        entry.certain = not uncertain
        present = [task for task in range(tasks) if reached[task]]
        if has_dense and present:
            if entry.rows:  # another process reads the table otherwise than by lookups
                entry.dense.setdefault(present[0], zeros(parameter))
                entry.settle(parameter)
            dense.append((parameter, entry, present))
        elif has_rows and present:
            _average_rows(parameter, entry, present)
        if not present and entry.certain:
            del gradients.of[parameter]
    _average_dense(dense)


def average_grads(parameters: Sequence[Tensor]) -> None:
    """Replaces ``.grad`` by its mean over the processes, dense or sparse; all processes call it at once."""
    gradients = TaskGradients()
    for parameter in parameters:
        if parameter.grad is None:
            continue
        entry = gradients.of.setdefault(parameter, ParameterGradients(1, sparse=parameter.grad.is_sparse))
        if parameter.grad.is_sparse:
            whole = parameter.grad.coalesce()
            entry.rows = [Rows(whole.indices()[0], {0: whole.values()})]
        else:
            entry.dense = {0: real(parameter.grad)}
    average(gradients, parameters, 1)
    for parameter, entry in gradients:
        parameter.grad = spread(parameter, entry, (entry.rows[0].values if entry.rows else entry.dense)[0])


def _average_rows(parameter: Tensor, entry: ParameterGradients, tasks: Sequence[int]) -> None:
    own = entry.rows[0] if entry.rows else Rows(torch.empty(0, dtype=torch.int64, device=parameter.device), {})
    dtype = torch.int32 if len(parameter) < 2**31 else torch.int64
    missing = parameter.detach().new_zeros(len(own.index), parameter.shape[1])
    index = gather(own.index.to(dtype))
    stacked = torch.stack([own.values.get(task, missing) for task in tasks], 1) / world_size()
    parts = [
        Rows(rows, dict(zip(tasks, values.unbind(1), strict=True)))
        for rows, values in zip(index, gather(stacked), strict=True)
    ]
    entry.rows = [merge(parts)]


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
