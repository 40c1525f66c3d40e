"""The metrics of one task, updated by one call."""

from typing import cast

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from mtlzoo.metrics.auc import AUC, MacroAUC
from mtlzoo.metrics.base import silent_without_rows
from mtlzoo.metrics.calibration import Calibration
from mtlzoo.metrics.classification import Classification
from mtlzoo.metrics.gauc import GAUC
from mtlzoo.metrics.logloss import LogLoss
from mtlzoo.metrics.observed import observed
from mtlzoo.metrics.ranking import RankingMetrics
from mtlzoo.metrics.regression import RegressionError
from mtlzoo.metrics.ties import RESOLUTION
from mtlzoo.precision import single
from mtlzoo.tasks import Task


class TaskMetrics(nn.Module):
    """Every metric that suits a task.

    ============ ===============================================================================================
    kind         keys of `compute`
    ============ ===============================================================================================
    binary       logloss, auc, pr_auc, calibration, ece, accuracy, f1; where `grouped` also gauc_impressions,
                 gauc_positives, gauc_unweighted
    regression   rmse, mae
    multiclass   logloss, accuracy, f1_macro
    multilabel   logloss, auc and pr_auc (means over classes), accuracy, f1_micro, f1_macro
    ranking      recall@K, hr@K, ndcg@K, mrr@K for K = 5, 10, 20, 40; updated through `ranking`
    ============ ===============================================================================================

    Links and alignments are trained only and have none. A prediction that is NaN, of a row that observes the task,
    leaves every metric of it undefined. For the AUCs, logits no further apart than 4e-6 (or than this share of their
    size, where that is above 1) are ties: rows that are alike get logits that differ in their last bits, by the batch
    they are in. The metrics are submodules, so a module that owns this moves them along; their state is not saved in
    checkpoints.

    Args:
        task: The task.
        grouped: Whether batches carry the group of each row.
    """

    def __init__(self, task: Task, *, grouped: bool = False) -> None:
        super().__init__()
        self.task = task
        self.metrics = nn.ModuleDict(dict[str, nn.Module](_metrics(task, grouped=grouped)))

    def __repr__(self) -> str:
        """The task and the names of its metrics."""
        return f"TaskMetrics({self.task.name} ({self.task.kind}): {', '.join(self.metrics)})"

    # Not traced: lists that grow would be, again and again.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def update(self, logits: Tensor, labels: Tensor, weight: Tensor | None = None, group: Tensor | None = None) -> None:
        """Add a batch; nothing here waits for the device.

        Args:
            logits: Outputs of the task, [B] or [B, outputs].
            labels: The task's columns of the batch's labels, [B, label_width], NaN where not observed.
            weight: Sample weights [B]; every metric counts rows by them.
            group: Group of each row, int [B]; needed where `grouped`.
        """
        logits = single(logits)
        predictions = self.task.predict(logits)
        if self.task.outputs == 1:
            logits, predictions = logits.reshape(-1), predictions.reshape(-1)
        if self.task.label_width == 1:
            labels = labels.reshape(-1)
        known = observed(labels, weight)
        for name, metric in self._each.items():
            if name == "logloss":
                metric.update(logits, labels, weight)
            elif name == "auc":
                metric.update(logits, known)
            elif name == "gauc":
                metric.update(logits, known, self._needed(group))
            else:
                metric.update(predictions, known)

    def compute(self) -> dict[str, Tensor]:
        """Metrics by name over the rows of all ranks, float64 scalars; NaN where undefined."""
        values: dict[str, Tensor] = {}
        with silent_without_rows():
            for metric in self._each.values():
                values |= metric.compute()
        return values

    def reset(self) -> None:
        """Forget all rows."""
        for metric in self._each.values():
            metric.reset()

    @property
    def ranking(self) -> RankingMetrics:
        """The metrics of a ranking, which are given users and not rows."""
        return cast(RankingMetrics, self.metrics["ranking"])

    @property
    def _each(self) -> dict[str, Metric]:
        return cast(dict[str, Metric], dict(self.metrics.items()))

    def _needed(self, group: Tensor | None) -> Tensor:
        if group is None:
            raise ValueError(
                f"Task {self.task.name!r}: grouped metrics need the group of each row, but the batch has none; "
                "name a group column in the data or give grouped=False."
            )
        return group


def _metrics(task: Task, *, grouped: bool) -> dict[str, Metric]:
    if task.kind in ("link", "alignment"):
        return {}
    if task.kind == "ranking":
        return {"ranking": RankingMetrics()}
    if task.kind == "regression":
        return {"error": RegressionError()}
    metrics: dict[str, Metric] = {"logloss": LogLoss(task)}
    if task.kind == "binary":
        metrics |= {
            "auc": AUC(resolution=RESOLUTION),
            "calibration": Calibration(),
            "classification": Classification("binary"),
        }
        return metrics | {"gauc": GAUC(RESOLUTION)} if grouped else metrics
    if task.kind == "multiclass":
        return metrics | {"classification": Classification("multiclass", task.classes)}
    return metrics | {
        "auc": MacroAUC(task.classes, resolution=RESOLUTION),
        "classification": Classification("multilabel", task.classes),
    }
