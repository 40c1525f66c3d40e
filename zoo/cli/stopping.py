"""What a training does when a signal asks it to end: last.ckpt after the batch; other commands end at once."""

import shlex
import signal
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint

from mtlzoo.cli.signals import REQUESTS, Stopped

EVERY = 8
"""Batches between two moments at which several processes agree on whether to end; one process looks after each."""


def without_notifier(trainer: L.Trainer) -> None:
    """Takes a handler of SIGTERM out of Lightning 2.6 that would come before ours.

    It starts a broadcast at whatever moment the signal comes. Where the other processes are at another collective, or
    are not asked to end, all wait for ever.
    """
    trainer._signal_connector._sigterm_notifier_fn = lambda *_: None  # type: ignore[method-assign]


class StopWithCheckpoint(Checkpoint):
    """After a signal, saves after the batch of training or validation, and ends the command.

    A validation within a training is broken off by one process, and finished by several, whose shares may have
    different numbers of batches. The checkpoint is resumed like any other.

    A `Checkpoint`, because those come after all other callbacks.

    Args:
        path: The checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Agrees with rank 0 on the file."""
        self.path = trainer.strategy.broadcast(self.path)

    def on_sanity_check_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """From here on there is something to save soon."""
        REQUESTS.wait = True

    on_train_start = on_sanity_check_start  # a resumed training checks nothing

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ends here if a signal came."""
        came = REQUESTS.came is not None
        if trainer.world_size > 1:
            now = (batch_idx + 1) % EVERY == 0 or trainer.is_last_batch
            came = now and trainer.strategy.reduce_boolean_decision(came, all=False)
        if came:
            self._stop(trainer)

    def on_validation_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Ends here if a signal came to one process alone."""
        if REQUESTS.came is not None and trainer.world_size == 1 and not trainer.sanity_checking:
            self._stop(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Nobody looks for signals any more."""
        REQUESTS.wait = False

    def _stop(self, trainer: L.Trainer) -> None:
        trainer.save_checkpoint(self.path, weights_only=False)
        folder = self.path.parent.parent
        raise Stopped(
            REQUESTS.came or signal.SIGTERM,
            f"Saved at step {trainer.global_step}: {self.path}\n"
            f"Go on with: mtlzoo fit -c {shlex.quote(str(folder / 'config.yaml'))} --ckpt_path last",
        )
