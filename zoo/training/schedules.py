"""Learning rates over the training."""

import math
from typing import Literal, TypeAlias

import lightning as L

Schedule: TypeAlias = Literal["constant", "linear", "cosine", "plateau"]
SCHEDULES = ("constant", "linear", "cosine", "plateau")


def rate_factor(step: int, schedule: Schedule, warmup_steps: int, total_steps: int) -> float:
    """Factor of the learning rate at a step: a linear rise over the warm-up, then down to 0 if not constant.

    Args:
        step: Steps already taken.
        schedule: ``constant``, ``linear`` or ``cosine``.
        warmup_steps: Steps of the rise.
        total_steps: Steps of the whole training.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if schedule == "constant":
        return 1.0
    done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return 1 - done if schedule == "linear" else (1 + math.cos(math.pi * done)) / 2


def check_end(schedule: Schedule, max_epochs: int | None, max_steps: float) -> None:
    """Refuses a schedule that falls to the end of a training without one.

    Args:
        schedule: The schedule.
        max_epochs: Of the Trainer; -1 for no limit.
        max_steps: Of the Trainer; -1 for no limit.

    Raises:
        ValueError: With what to do.
    """
    if schedule in ("linear", "cosine") and max_epochs == -1 and not 0 <= max_steps < math.inf:
        raise ValueError(
            f"schedule={schedule!r} falls to 0 at the last step, and this training has none: max_epochs={max_epochs}, "
            f"max_steps={max_steps}. Give max_epochs or max_steps (a time limit may end the training before), or take "
            "schedule='constant' or 'plateau'."
        )


def total_steps(trainer: L.Trainer, schedule: Schedule) -> int:
    """Steps of the whole training.

    Raises:
        ValueError: Nobody knows how many, with what to do.
    """
    total = trainer.estimated_stepping_batches
    if not 0 <= total < math.inf:  # also for loaders without a length
        check_end(schedule, -1, -1)
    return int(total)
