"""Checkpoints of a run: best.ckpt and last.ckpt, written atomically."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from lightning.pytorch.utilities import rank_zero_warn

from mtlzoo.callbacks.atomic import own_folder, whole_file
from mtlzoo.training.best import BestCheckpoint as BestCheckpoint
from mtlzoo.training.resume import validation_is_due


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and then renames it, so that it is the old one or the whole new one.

    Lightning 2.6 writes to the system's temporary folder and moves from there, which is a copy, not a rename, where
    that is another file system: a process killed meanwhile leaves half a checkpoint under the final name.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Saves `checkpoint` at the local `path`.

        Raises:
            OSError: The folder is a link or can't be written, or the disk is full.
        """
        target = Path(path)
        own_folder(target.parent)
        with whole_file(target) as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None  # torch says of a full disk that a position is unexpected
                raise


class LastCheckpoint(Checkpoint):
    """``last.ckpt``: all that resuming needs, at the end of every epoch and, if asked, within.

    Args:
        folder: Folder of the checkpoints.
        every_n_steps: Also after every so many batches; None at the end of epochs only.
    """

    def __init__(self, folder: Path, every_n_steps: int | None = None) -> None:
        self.path = folder / "last.ckpt"
        self.every_n_steps = every_n_steps
        self._stopped = -1

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Agrees with rank 0 on the folder."""
        self.path = trainer.strategy.broadcast(self.path)

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Saves every n batches, and where the training stops within an epoch.

        There before Lightning validates once more and ends the epoch, which a training that goes on does later.
        """
        step = trainer.global_step
        stops = trainer.should_stop or step == trainer.max_steps
        asked = self.every_n_steps is not None and step % self.every_n_steps == 0
        if (asked or stops) and not trainer.is_last_batch:
            trainer.save_checkpoint(self.path, weights_only=False)
            self._stopped = step if stops and not validation_is_due(trainer) else -1

    def on_train_epoch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Saves at the end of an epoch; Lightning calls this also where a training stops within one."""
        if trainer.global_step != self._stopped:
            trainer.save_checkpoint(self.path, weights_only=False)


class Patience(EarlyStopping):
    """Stops after so many validations in a row without a better score. One without a score does not count.

    Args:
        monitor: Name of the score.
        mode: Whether it should be small or large.
        patience: Validations.
    """

    def __init__(self, monitor: str, mode: str, patience: int) -> None:
        # After validations only: an epoch that max_steps cuts short has no score.
        super().__init__(monitor, mode=mode, patience=patience, check_on_train_epoch_end=False)

    @property
    def state_key(self) -> str:
        """That of the base class, under which earlier versions saved."""
        return f"EarlyStopping{{'monitor': {self.monitor!r}, 'mode': {self.mode!r}}}"

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on counting, with the patience of now."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Ends at once what this had ended before."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True
            rank_zero_warn(
                f"{self.wait_count} validations in a row had no better {self.monitor} when the checkpoint was written, "
                f"which ends a training with patience {self.patience}. To go on give a larger one, or none at all "
                "(--patience null)."
            )

    def _run_early_stopping_check(self, trainer: L.Trainer) -> None:
        score = trainer.callback_metrics.get(self.monitor)
        if score is not None and score.isfinite() and validation_is_due(trainer):
            super()._run_early_stopping_check(trainer)
