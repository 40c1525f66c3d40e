"""What a run writes while it trains: metrics.csv, config.yaml, lines on the screen."""

import csv
import io
import logging
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import yaml
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from lightning_utilities.core import rank_zero as rank_zero_module

from mtlzoo.callbacks.atomic import append, whole_file
from mtlzoo.cli.run_folder import MARK
from mtlzoo.cli.wandb_run import WandbRuns


class MetricsFile(Logger):
    """``metrics.csv``: one row per logged step, one column per metric.

    Unlike Lightning's CSVLogger it goes on with the file of a resumed run instead of deleting it.

    Args:
        folder: Run folder.
        first_step: Rows of an existing file from this step on are dropped: the resumed run will write them again.
        validates: Whether it begins with the validation after the step before, whose row is dropped too.
    """

    def __init__(self, folder: Path, first_step: int = 0, *, validates: bool = False) -> None:
        super().__init__()
        self.folder = folder
        self.first_step = first_step
        self.validates = validates
        self.columns: list[str] = []

    @property
    def name(self) -> str:
        """``metrics``."""
        return "metrics"

    @property
    def version(self) -> str:
        """None is needed: the run folder is the version."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run folder; Lightning takes it as the Trainer's `log_dir`."""
        return str(self.folder)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """They are in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Appends a row; a metric that is new rewrites the file with one more column."""
        row = {"step": step or 0, **metrics}
        path = self.folder / "metrics.csv"
        if new := set(row) - set(self.columns):
            rows = self._rows(path)
            known = new.union(self.columns, *(old.keys() for old in rows[:1])) - {"epoch", "step"}
            self.columns = ["epoch", "step", *sorted(known)]
            with whole_file(path, "w", newline="") as file:
                writer = csv.DictWriter(file, self.columns)
                writer.writeheader()
                writer.writerows([*rows, row])
            return
        line = io.StringIO()
        csv.DictWriter(line, self.columns).writerow(row)
        append(path, line.getvalue())

    def _rows(self, path: Path) -> list[dict[str, Any]]:
        if not path.is_file():
            return []
        text = path.read_bytes().decode(errors="replace")
        try:
            rows = list(csv.DictReader(io.StringIO(text, newline=""), restkey="", restval="?"))
        except csv.Error:
            rows = [{"": "no table"}] * 2
        # The first time the rows are those of the run that is resumed, later they are all our own.
        if self.columns:
            return rows
        whole = [row for row in rows if _is_row(row)]
        cut = 0 if text.endswith("\n") else 1  # the last one, by a kill
        if len(rows) > len(whole) + cut or rows[: len(whole)] != whole:
            kept = path.with_name(f"metrics.damaged-{time.time_ns()}.csv")
            path.rename(kept)
            warnings.warn(f"{path}: {len(rows) - len(whole)} rows are damaged and left out; see {kept}.", stacklevel=2)
        return [row for row in whole if int(row["step"]) < self.first_step - self._is_written_again(row)]

    def _is_written_again(self, row: dict[str, Any]) -> bool:
        return self.validates and any(value for name, value in row.items() if name.startswith("val/"))


def _is_row(row: dict[str, Any]) -> bool:
    """Whether a row of a file has a number of a step, and numbers or nothing in all other columns."""
    try:
        return "" not in row and int(row["step"]) >= 0 and all(float(value or 0) is not None for value in row.values())
    except (KeyError, ValueError):
        return False


class EpochLines(L.Callback):
    """One line per validation, for logs that are files and not terminals."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prints the losses and the validation AUCs."""
        if trainer.sanity_checking:
            return
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        shown = [
            n
            for n in values
            if n in ("train/loss", "val/auc_mean") or (n.startswith("val/") and n.endswith(("/auc", "/recall@20")))
        ]
        numbers = "  ".join(f"{name} {values[name]:.4f}" for name in shown)
        seconds = time.monotonic() - self.started
        rank_zero_info(f"epoch {trainer.current_epoch}  step {trainer.global_step}  {seconds:.0f} s  {numbers}")


class SaveConfig(SaveConfigCallback):
    """Writes config.yaml into the run folder of a training, and begins its W&B run.

    Args:
        *args: Of the base class.
        folder: Run folder.
        wandb: The W&B runs of the command.
        **kwargs: Of the base class.
    """

    def __init__(self, *args: Any, folder: Path, wandb: WandbRuns, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "save_to_log_dir": False})
        self.folder = folder
        self.wandb = wandb

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Called on rank 0 when `stage` starts."""
        config = self.config.clone()
        config.ckpt_path = None  # what a run is, not where it was once resumed from
        text = self.parser.dump(config, skip_none=False)
        if stage == "fit":
            with whole_file(self.folder / "config.yaml", "w") as file:
                file.write(f"{MARK}\n{text}")
        if stage != "predict":
            self.wandb.begin(yaml.safe_load(text), fits=stage == "fit")


def stands_at(trainer: L.Trainer, checkpoint: Mapping[str, Any]) -> None:
    """Lets an evaluation log at the epoch and step of its checkpoint, and not at 0."""
    progress: Any = trainer.fit_loop.epoch_progress.current
    progress.processed = checkpoint["epoch"]
    trainer.fit_loop.epoch_loop._batches_that_stepped = checkpoint["global_step"]


def quiet() -> None:
    """Drops Lightning's advertisements from its messages."""
    messages = rank_zero_module.log  # of `pytorch_lightning`, where somebody has imported that, too
    if _no_tips not in messages.filters:
        messages.addFilter(_no_tips)


def _no_tips(record: logging.LogRecord) -> bool:
    return "Tip:" not in record.getMessage()
