"""The Trainer of a run: what it gets of ours beside what was asked for."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from jsonargparse import Namespace
from lightning.pytorch.callbacks import ProgressBar, Timer
from lightning.pytorch.loggers import Logger

from mtlzoo.cli.agreement import KeptEncoding
from mtlzoo.cli.checkpoints import AtomicCheckpointIO, BestCheckpoint, LastCheckpoint, Patience
from mtlzoo.cli.logs import EpochLines, MetricsFile
from mtlzoo.cli.parser import listed
from mtlzoo.cli.screen import OneLineBar, RunSize
from mtlzoo.cli.stopping import StopWithCheckpoint
from mtlzoo.datamodules.base import MultiTaskDataModule
from mtlzoo.module import MultiTaskModule

TRAINER_DEFAULTS: dict[str, Any] = {
    "max_epochs": 20,
    "log_every_n_steps": 50,
    "use_distributed_sampler": False,  # the loaders share out the rows themselves
    "default_root_dir": "runs",
}
"""Where the command differs from `Trainer()`."""


def training_callbacks(
    config: Namespace, options: Namespace, folder: Path, model: MultiTaskModule, data: MultiTaskDataModule
) -> list[L.Callback]:
    """What a training has: a clock, the encoding of its data, checkpoints and patience.

    Args:
        config: Options of the Trainer.
        options: Those of the command.
        folder: Run folder.
        model: The model.
        data: The data.
    """
    monitor, mode = model.monitor
    checkpoints = folder / "checkpoints"
    validated = config.limit_val_batches != 0
    callbacks: list[L.Callback] = [Timer(config.max_time), KeptEncoding(data, folder)]
    if config.enable_checkpointing is not False:
        callbacks += [BestCheckpoint(checkpoints, monitor, mode)] if validated else []
        last = LastCheckpoint(checkpoints, options.checkpoint_every)
        callbacks += [last, StopWithCheckpoint(last.path)]
    if options.patience is not None and validated:
        callbacks.append(Patience(monitor, mode, options.patience))
    return callbacks


def metrics_file(folder: Path, checkpoint: Mapping[str, Any]) -> MetricsFile:
    """The metrics of a training that begins, or goes on from a checkpoint (its entries; none where it begins)."""
    validates = (checkpoint.get("mtlzoo") or {}).get("validation") == "due"
    return MetricsFile(folder, checkpoint.get("global_step", 0), validates=validates)


def run_arguments(
    config: Namespace, folder: Path, own: Sequence[L.Callback], loggers: Sequence[Logger], *, fits: bool
) -> dict[str, Any]:
    """Arguments of the Trainer that a run has in place of those that were asked for.

    Args:
        config: Options of the Trainer.
        folder: Run folder.
        own: Callbacks of the command.
        loggers: All of them.
        fits: Whether it is a training.
    """
    terminal = sys.stdout.isatty() if config.enable_progress_bar is None else config.enable_progress_bar
    callbacks = [*listed(config.callbacks), *own]
    # Other checkpoints of the same moment hold what is the best by then.
    callbacks.sort(key=lambda callback: not isinstance(callback, BestCheckpoint))
    if fits and not terminal:
        callbacks.append(EpochLines())
    asks_for_bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
    if terminal and not asks_for_bar:
        callbacks.append(OneLineBar())
    if fits and config.enable_model_summary is None:
        callbacks.append(RunSize())
    return {
        "callbacks": callbacks,
        "logger": list(loggers) or False,
        "plugins": [*listed(config.plugins), AtomicCheckpointIO()],
        "default_root_dir": folder,
        "enable_progress_bar": terminal or (config.enable_progress_bar is None and asks_for_bar),
        "enable_model_summary": bool(config.enable_model_summary),
        "enable_checkpointing": fits and config.enable_checkpointing is not False,
    }
