"""One W&B run per training: `fit`, `fit` resumed, `validate` and `test` of a run folder write to the same one.

Its id is kept in the run folder. What is logged under which name: docs/wandb.md.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import lightning as L
import polars as pl
from lightning.pytorch.loggers import Logger, WandbLogger

from mtlzoo.cli.run_folder import read_json, write_json
from mtlzoo.metrics.direction import direction

KEPT = "wandb.json"
"""File of a run folder: id of its W&B run by project."""
PROJECT = "mtlzoo"
"""Where runs go when neither the logger nor WANDB_PROJECT says."""
NAME_LENGTH = 128
"""Characters that W&B allows in the name of a run."""


class WandbRuns:
    """The W&B runs that a command writes to: one per `WandbLogger`, on the first process alone.

    Args:
        loggers: All loggers of the command; those of W&B are told what their run is called and where it goes on.
        folder: Run folder.
        command: ``fit``, ``validate``, ``test`` or ``predict``.
        summary: What the run is, in flat entries: see `mtlzoo.cli.description.describe`.
    """

    def __init__(
        self,
        loggers: Iterable[Logger],
        folder: Path,
        command: str,
        summary: Mapping[str, Any],
    ) -> None:
        self.loggers = [logger for logger in loggers if isinstance(logger, WandbLogger)]
        self.folder = folder
        self.summary = {**summary, "contender": contender(summary)}
        self._kept: dict[str, str] = read_json(folder / KEPT) if (folder / KEPT).is_file() else {}
        for logger in self.loggers:
            self._direct(logger, command)

    def _direct(self, logger: WandbLogger, command: str) -> None:
        """What was said stays; what was not is the same however the logger was asked for."""
        said = logger._wandb_init
        if said["project"] == "lightning_logs" and "WANDB_PROJECT" not in os.environ:  # Lightning's, not the user's
            said["project"] = logger._project = PROJECT
        if said["dir"] == ".":
            said["dir"] = logger._save_dir = str(self.folder)
        if said["id"] is None:
            said["id"] = logger._id = self._kept.get(said["project"])
        ours = {
            "name": f"{self.summary['run_name']} {self.summary['changed']}"[:NAME_LENGTH].strip(),
            "group": self.summary["data_name"],
            "tags": [self.summary["model_name"], *self.summary["rule_name"].split("+")],
            "resume": "allow",  # Lightning's too, but on the command line the parser's None takes its place
        }
        if not self._goes_on(logger):
            ours["job_type"] = command
        for option, value in ours.items():
            if said.get(option) is None:
                said[option] = value

    def _goes_on(self, logger: WandbLogger) -> bool:
        return self._kept.get(logger._wandb_init["project"]) is not None

    def begin(self, config: Mapping[str, Any], *, fits: bool) -> None:
        """Starts the runs or goes on with them; on the first process.

        Args:
            config: All options.
            fits: Whether it is a training; an evaluation says what the run is only where no training did.
        """
        for logger in self.loggers:
            run = logger.experiment
            if fits or not self._goes_on(logger):
                run.config.update({**config, **self.summary}, allow_val_change=True)
            run.define_metric("epoch", summary="none")
            # Not summary="none": W&B 0.31 may then drop what `validated` writes over the last value, too.
            run.define_metric("val/*", step_metric="epoch")
            if not run.disabled:
                self._kept[logger._wandb_init["project"]] = run.id
                write_json(self.folder / KEPT, self._kept)

    def publish(self, file: Path, kind: str) -> None:
        """A file of the run folder as an artifact ``<kind>-<id of the run>``; on the first process."""
        import wandb

        for logger in self.loggers:
            artifact = wandb.Artifact(f"{kind}-{logger.experiment.id}", type=kind)
            artifact.add_file(str(file))
            logger.experiment.log_artifact(artifact)

    def validated(self) -> None:
        """The best of each metric of all validations so far in the summary; on the first process."""
        for logger in self.loggers:
            logger.experiment.summary.update(best_of(self.folder / "metrics.csv"))

    def tested(self, metrics: Mapping[str, float]) -> None:
        """The metrics of results.json in the summary, under the same names; on the first process."""
        for logger in self.loggers:
            logger.experiment.summary.update(dict(metrics))

    def __enter__(self) -> "WandbRuns":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends what was begun, so that a process can have several runs one after the other."""
        for logger in self.loggers:
            if logger._experiment is not None:
                logger._experiment.finish(exit_code=0 if error is None else 1)


class BestInSummary(L.Callback):
    """After every validation of a training, the best of each metric goes into the summary of its W&B run.

    W&B's own ``define_metric(summary="max")`` forgets what was before a resumption.

    Args:
        runs: The runs.
    """

    def __init__(self, runs: WandbRuns) -> None:
        self.runs = runs

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lightning has logged the validation by now."""
        if trainer.is_global_zero and not trainer.sanity_checking:
            self.runs.validated()


def contender(summary: Mapping[str, Any]) -> str:
    """Model and rule in one, to group by: ``MMoE``, ``MMoE + PCGrad row``."""
    rule = " ".join(filter(None, (summary["rule_name"], summary["rule_options"])))
    return str(summary["model_name"]) if rule == "sum" else f"{summary['model_name']} + {rule}"


def best_of(path: Path) -> dict[str, float]:
    """The best value of every ``val/`` column of a metrics.csv: the last one where neither way is better."""
    best = {}
    for column in pl.read_csv(path, infer_schema_length=None).select(pl.col("^val/.*$").cast(pl.Float64)):
        values = column.drop_nulls().drop_nans()
        if len(values):
            wanted = direction(column.name)
            best[column.name] = float(values[-1] if wanted is None else getattr(values, wanted)())
    return best


def without_anonymous(loggers: Iterable[Logger]) -> None:
    """Keeps Lightning 2.6 from passing a setting that W&B warns of, though nobody set it."""
    for logger in loggers:
        if isinstance(logger, WandbLogger) and logger._wandb_init.get("anonymous") is None:
            logger._wandb_init.pop("anonymous", None)
