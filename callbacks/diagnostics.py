"""What surgery says of a vector of losses: one line at its first step, and what looks like a mistake."""

from collections.abc import Iterable, Sequence

import lightning as L
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from mtlzoo.callbacks.handover import HOW
from mtlzoo.callbacks.loss_vector import LossVector


def say_first_step(vector: LossVector, parameters: Iterable[Tensor]) -> None:
    """Says what was found: what is shared, and what no task reaches."""
    trained = [p for p in parameters if p.requires_grad]
    shared = sum(vector.shares(p) for p in trained)
    silent = sum(not vector.reached.get(p) for p in trained)
    rank_zero_info(
        f"GradientSurgery({type(vector.rule).__name__}): {len(vector.names)} tasks ({_listed(vector.names)}), "
        f"{shared} shared, {len(trained) - shared - silent} private parameters, {silent} without gradient"
    )


def warn_of_silent_tasks(vectors: Iterable[LossVector]) -> None:
    """After the first epoch: tasks whose losses hung on nothing that trains in every step of it."""
    for vector in vectors:
        everyone = 0
        for mask in vector.reached.values():
            everyone |= mask
        silent = [name for task, name in enumerate(vector.names) if not everyone >> task & 1]
        if silent and everyone:
            rank_zero_warn(
                f"GradientSurgery: the losses of {silent} had no gradient in the whole epoch. Do they come from "
                "detach(), item() or torch.tensor(...), or has nobody observed these tasks?"
            )


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


def names_of_bad(names: Sequence[str], gramians: Tensor) -> list[str]:
    """Tasks with a gradient that is not finite; waits for the device."""
    finite = gramians.diagonal(dim1=-2, dim2=-1).flatten(0, -2).isfinite().all(0).tolist()
    return [name for name, good in zip(names, finite, strict=True) if not good]


def not_finite(what: str, names: Sequence[str], step: int) -> FloatingPointError:
    """The error for tasks whose loss or gradient is not."""
    return FloatingPointError(
        f"{what} of {list(names)} is not finite at step {step}, and would make all that the tasks share so. Lower the "
        "learning rate, clip, or look for extreme or missing numbers in that task's targets."
    )


def _listed(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
