"""What callbacks that weigh tasks say of losses that look like a mistake."""

from collections.abc import Sequence

import lightning as L
from lightning.pytorch.utilities import rank_zero_warn

from mtlzoo.callbacks.handover import HOW


def warn_of_no_losses(owner: L.Callback, vectors: int) -> None:
    """After the first epoch: a module that handed over one loss at a time, with which there is nothing to do."""
    if not vectors:
        rank_zero_warn(
            f"{type(owner).__name__}: no losses of several tasks came in the whole epoch, so it has changed "
            f"nothing. {HOW}"
        )


def check_not_rows(owner: str, tasks: int, rows: int, separate: bool) -> None:
    """Refuses a loss per row of the batch, which has as many entries as there are rows.

    Raises:
        ValueError: Such a vector.
    """
    if not separate and rows > 1 and tasks % rows == 0:
        raise ValueError(
            f"{owner} found {tasks} losses from one operation on a batch of {rows} rows: a loss per row "
            f"(reduction='none')? {HOW} If these are {tasks} tasks, name them: {owner}(..., tasks=[...])."
        )


def not_finite(what: str, names: Sequence[str], step: int) -> FloatingPointError:
    """The error for tasks whose loss or gradient is not."""
    return FloatingPointError(
        f"{what} of {list(names)} is not finite at step {step}, and would make all that the tasks share so. Lower the "
        "learning rate, clip, or look for extreme or missing numbers in that task's targets."
    )
