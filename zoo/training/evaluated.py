"""`EvaluatedModule`: what a multi-task model is measured by, and what it predicts."""

import math
from abc import ABC, abstractmethod
from typing import Literal

import lightning as L
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from mtlzoo.metrics import TaskMetrics
from mtlzoo.schema import Batch, FeatureSchema
from mtlzoo.training import resume

MEANS = ("auc", "pr_auc", "gauc_impressions", "logloss", "accuracy", "rmse")
"""Metrics whose mean over the tasks is logged; tasks for which one is undefined are left out of it."""


class EvaluatedModule(L.LightningModule, ABC):
    """Metrics of every task in validation and test, the score that decides, and predictions.

    What is undefined stays undefined: a score that is none is said once, and neither picks the best epoch nor ends a
    training.
    """

    schema: FeatureSchema
    """Features and tasks."""
    evaluation: nn.ModuleList
    """A `TaskMetrics` per task."""
    _validated = -1
    """Step after which a validation was last over."""
    _warned = False

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits of every task.

        Args:
            batch: See `mtlzoo.schema.Batch`; labels are not looked at.

        Returns:
            By task name: [B], or [B, classes] for multiclass and multilabel.
        """

    @property
    def monitor(self) -> tuple[str, Literal["min", "max"]]:
        """The metric that decides which epoch is best, and whether it should be small or large."""
        kinds = {task.kind for task in self.schema.tasks}
        if kinds & {"binary", "multilabel"}:
            return "val/auc_mean", "max"
        return ("val/accuracy_mean", "max") if "multiclass" in kinds else ("val/rmse_mean", "min")

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor] | None:
        """Adds a batch to the metrics; returns its logits, or None where it has no rows but users to rank for."""
        logits: dict[str, Tensor] = self(batch)
        for (task, columns), metrics in zip(self.schema.label_columns, self._metrics(), strict=True):
            metrics.update(logits[task.name], batch["labels"][:, columns], batch.get("weight"), batch.get("group"))
        return logits

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor] | None:
        """As `validation_step`."""
        return self.validation_step(batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Predictions of every task (probabilities, or values of a regression) and ``row`` where the batch has it."""
        logits = self(batch)
        predictions = {task.name: task.predict(logits[task.name]) for task in self.schema.tasks if task.name in logits}
        return {"row": batch["row"], **predictions} if "row" in batch else predictions

    def on_validation_epoch_end(self) -> None:
        """Logs the metrics and, with ``schedule="plateau"``, tells the schedule."""
        values = self._log_metrics("val")
        schedule = self.lr_schedulers()
        score = values.get(self.monitor[0], math.nan)
        if self.trainer.sanity_checking or self.trainer.state.fn != "fit":
            return
        self._validated = self.trainer.global_step
        if not math.isfinite(score):
            self._warn_undefined()
        elif isinstance(schedule, ReduceLROnPlateau) and resume.validation_is_due(self.trainer):
            schedule.step(score)

    def _warn_undefined(self) -> None:
        if not self._warned:
            self._warned = True
            rank_zero_warn(
                f"{self.monitor[0]} is not defined: there are no rows of validation to tell it by (an AUC needs both "
                "classes), or predictions are NaN. The training goes on. No such validation is the best one, nor does "
                "it count for early stopping and schedule='plateau'; while there is no other, best means last."
            )

    def on_test_epoch_end(self) -> None:
        """Logs the metrics."""
        self._log_metrics("test")

    def _metrics(self) -> list[TaskMetrics]:
        return list(self.evaluation)  # type: ignore[arg-type]  # a ModuleList does not know what it holds

    def measured(self, stage: str) -> dict[str, float]:
        """Metrics of the batches since the last time, which are forgotten, and means over the tasks.

        Args:
            stage: ``val`` or ``test``, which their names begin with.

        Returns:
            By name; NaN where one is undefined.
        """
        values: dict[str, float] = {}
        for task, metrics in zip(self.schema.tasks, self._metrics(), strict=True):
            values |= {f"{stage}/{task.name}/{key}": float(value) for key, value in metrics.compute().items()}
            metrics.reset()
        for key in MEANS:
            found = [value for name, value in values.items() if name.endswith(f"/{key}")]
            defined = [value for value in found if not math.isnan(value)]
            if found:
                values[f"{stage}/{key}_mean"] = sum(defined) / len(defined) if defined else math.nan
        return values

    def _log_metrics(self, stage: str) -> dict[str, float]:
        values = self.measured(stage)
        if not self.trainer.sanity_checking and not self.trainer.barebones:
            # The metrics agree over processes already, and a second reduction would say they need one.
            for name, value in values.items():
                self.log(name, value, prog_bar=name == self.monitor[0], sync_dist=False)
        return values
