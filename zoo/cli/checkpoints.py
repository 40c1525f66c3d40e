"""Checkpoints of a run: best.ckpt and last.ckpt, written atomically."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from mtlzoo.callbacks.atomic import own_folder, whole_file


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


class BestCheckpoint(ModelCheckpoint):
    """``best.ckpt``: the weights with the best score on the validation split.

    Args:
        folder: Folder of the checkpoints.
        monitor: Name of the score.
        mode: Whether it should be small or large.
    """

    def __init__(self, folder: Path, monitor: str, mode: str) -> None:
        super().__init__(
            folder, "best", monitor, mode=mode, save_on_train_epoch_end=False, enable_version_counter=False
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from the best score so far, also where the run folder has moved since."""
        # No path of the file is taken over: what is no longer the best is deleted.
        moved = {**state_dict, "dirpath": self.dirpath, "last_model_path": "", "best_k_models": {}}
        moved |= {"kth_best_model_path": ""}
        if state_dict["best_model_path"]:
            path = str(Path(self.dirpath or "", "best.ckpt"))
            moved |= {"best_model_path": path, "kth_best_model_path": path}
            moved["best_k_models"] = {path: state_dict["best_model_score"]}
        super().load_state_dict(moved)


class LastCheckpoint(Checkpoint):
    """``last.ckpt``: all that resuming needs, at the end of every epoch and, if asked, within.

    Args:
        folder: Folder of the checkpoints.
        every_n_steps: Also after every so many batches; None at the end of epochs only.
    """

    def __init__(self, folder: Path, every_n_steps: int | None = None) -> None:
        self.path = folder / "last.ckpt"
        self.every_n_steps = every_n_steps

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Agrees with rank 0 on the folder."""
        self.path = trainer.strategy.broadcast(self.path)

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Saves every n batches, and where the training stops within an epoch: there it can go on exactly.

        Not after the last batch of an epoch, whose validation is still to come: Lightning would not make up for it.
        """
        step = trainer.global_step
        asked = self.every_n_steps is not None and step % self.every_n_steps == 0
        if (asked or trainer.should_stop or step == trainer.max_steps) and not trainer.is_last_batch:
            trainer.save_checkpoint(self.path, weights_only=False)

    def on_train_epoch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Saves at the end of an epoch; Lightning calls this also where a training stops within one."""
        if trainer.is_last_batch:
            trainer.save_checkpoint(self.path, weights_only=False)
