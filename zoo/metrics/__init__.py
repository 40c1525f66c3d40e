"""Metrics for multi-task models, as torchmetrics `Metric`s.

They leave out NaN labels, give the same under DDP as in one process, and stay NaN where undefined. Each gives a
dictionary of named float64 scalars, because what shares a state is one metric. `TaskMetrics` has all that suit a task.
"""

from mtlzoo.metrics.auc import AUC, MacroAUC
from mtlzoo.metrics.calibration import Calibration
from mtlzoo.metrics.classification import Classification
from mtlzoo.metrics.gauc import GAUC
from mtlzoo.metrics.logloss import LogLoss
from mtlzoo.metrics.observed import Observed, observed
from mtlzoo.metrics.ranking import RankingMetrics
from mtlzoo.metrics.regression import RegressionError
from mtlzoo.metrics.task_metrics import TaskMetrics

__all__ = [
    "AUC",
    "GAUC",
    "Calibration",
    "Classification",
    "LogLoss",
    "MacroAUC",
    "Observed",
    "RankingMetrics",
    "RegressionError",
    "TaskMetrics",
    "observed",
]
