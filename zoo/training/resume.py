"""Going on where a checkpoint was written, whatever had stopped the training.

Lightning 2.6 finds out from the counters of its loops where it was, and gets it wrong in several places: with
`max_steps` it runs the epoch after a finished one without a batch; it takes an epoch that `max_steps`, `max_time` or
`should_stop` cut short for a finished one once `fit` has returned; it never makes up for a validation that was due when
a callback saved. So the counters are put in order before they are restored: each way to stop ends in one of four states
that Lightning goes on from exactly.
"""

from typing import Any, Literal, TypeAlias

import lightning as L

Validation: TypeAlias = Literal["none", "due", "done"]
"""Whether the last batch before the checkpoint is followed by a validation, and whether that is over."""


def validation_is_due(trainer: L.Trainer) -> bool:
    """Whether a validation follows the current batch by the trainer's intervals of batches and epochs.

    Not one that is due by the clock, and not the one that Lightning adds where a training is told to stop within an
    epoch: a training that nobody stops has no such validation.
    """
    loop = trainer.fit_loop.epoch_loop
    every: float | None = getattr(trainer, "val_check_batch", None)
    if not every or not loop._should_check_val_epoch():
        return False
    if every == float("inf"):
        return trainer.is_last_batch
    index = loop.total_batch_idx if trainer.check_val_every_n_epoch is None else loop.batch_idx
    return bool((index + 1) % every == 0)


def put_in_order(loops: dict[str, Any], validation: Validation) -> bool:
    """Rewrites a checkpoint's counters of the fit loop.

    Args:
        loops: ``checkpoint["loops"]["fit_loop"]``, changed in place.
        validation: What `MultiTaskModule` noted when the checkpoint was saved.

    Returns:
        Whether an epoch begins, see `begin_epoch`.
    """
    epoch, batch = loops["epoch_progress"], loops["epoch_loop.batch_progress"]
    number = batch["current"]["processed"]
    ended = epoch["current"]["processed"] >= epoch["current"]["ready"]
    validation = "done" if ended and validation == "due" else validation
    # Hooks of an epoch's end are still to run where the last batch, and its validation, are all that is over.
    whole = batch["is_last_batch"] and (ended or validation == "none")
    waiting = epoch["current"]["started"] < epoch["current"]["ready"]  # saved by a hook of the epoch's start
    whole = whole and not waiting
    begins = whole or waiting or not number
    for counts in (epoch["total"], epoch["current"]):
        started = counts["ready"]
        over = started if whole or (ended and not number) else started - 1
        _set(counts, ready=over if begins else started, completed=over)
    # Within an epoch Lightning skips the validation of a batch that is not "completed", and makes up for one that has
    # begun; at the end of an epoch it must find everything completed.
    skips = not begins and validation != "due" and not batch["is_last_batch"]
    for counts in (batch["total"], batch["current"]):
        _set(counts, ready=counts["processed"], completed=counts["processed"] - skips, processed=counts["processed"])
    unfinished = not begins and validation == "due"
    for counts in loops["epoch_loop.val_loop.batch_progress"].values():
        if isinstance(counts, dict):
            _set(counts, ready=int(unfinished), completed=0)
    # Lightning counts the last batch once it goes on, but for one after which an epoch begins.
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] = batch["total"]["processed"] - (not begins)
    if begins:
        loops["state_dict"].pop("combined_loader", None)
    return bool(begins)


def begin_epoch(trainer: L.Trainer) -> None:
    """Has the trainer begin an epoch as if it had loaded nothing; with `max_steps` it looks for the rest of one."""
    loop = trainer.fit_loop.epoch_loop
    for part in (trainer.fit_loop, loop, loop.val_loop, loop.automatic_optimization, loop.manual_optimization):
        part.on_iteration_done()


def _set(counts: dict[str, int], *, ready: int, completed: int, processed: int | None = None) -> None:
    counts |= {"ready": ready, "started": ready, "completed": completed}
    counts["processed"] = completed if processed is None else processed
