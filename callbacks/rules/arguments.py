"""Checks of arguments: what is possible, a number per task, a number that names a task."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtlzoo.callbacks.to_device import sent


def check(rule: nn.Module, name: str, value: object, allowed: str, ok: bool) -> None:
    """Refuses an argument.

    Raises:
        ValueError: Not `ok`.
    """
    if not ok:
        raise ValueError(f"{type(rule).__name__}: {name}={value!r} is not possible; allowed: {allowed}.")


def numbers(owner: str, name: str, values: Sequence[float] | None, *, positive: bool = False) -> list[float] | None:
    """Checks a number per task.

    Args:
        owner: The class, for the error.
        name: The argument, for the error.
        values: None is passed through.
        positive: Whether 0 is refused as well.

    Raises:
        ValueError: Empty, negative or not finite.
    """
    if values is None:
        return None
    checked = [float(value) for value in values]
    if not checked or any(not math.isfinite(v) or v < 0 or (positive and v == 0) for v in checked):
        kind = "positive" if positive else "non-negative"
        raise ValueError(f"{owner}: {name} takes one {kind} finite number per task, got {list(values)!r}.")
    return checked


def per_task(owner: str, name: str, values: list[float] | None, like: Tensor, default: float) -> Tensor:
    """The numbers as a tensor [T], T = the last dimension of `like`; all the default where there are none.

    Raises:
        ValueError: Not one for each task.
    """
    tasks = like.shape[-1]
    if values is None:
        return torch.full((tasks,), default, dtype=torch.float64, device=like.device)
    if len(values) != tasks:
        raise ValueError(f"{owner}: {len(values)} numbers in {name} for {tasks} tasks; give one each.")
    return sent(torch.tensor(values, dtype=torch.float64), like.device)


def task_number(owner: str, task: int | str, tasks: int) -> int:
    """The main task's number.

    Raises:
        ValueError: A name, or no such task.
    """
    if isinstance(task, str):
        raise ValueError(
            f"{owner}: main_task is still the name {task!r}. The callback turns names into numbers; where the rule is "
            f"called by hand, give the task's number, 0 to {tasks - 1}."
        )
    if not 0 <= task < tasks:
        raise ValueError(f"{owner}: main_task {task} of {tasks} tasks; they are numbered from 0 to {tasks - 1}.")
    return task
