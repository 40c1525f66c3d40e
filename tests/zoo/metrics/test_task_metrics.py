"""`TaskMetrics`: which metrics a kind of task has, and that they are the metrics alone."""

import pytest
import torch
from torch import Tensor
from torchmetrics import Metric

from mtlzoo.metrics import AUC, GAUC, Calibration, Classification, LogLoss, MacroAUC, RegressionError, TaskMetrics
from mtlzoo.tasks import Task

N = 400
TASKS = {
    "binary": Task("t"),
    "regression": Task("t", "regression", center=2.0, scale=0.5),
    "multiclass": Task("t", "multiclass", classes=3),
    "multilabel": Task("t", "multilabel", classes=3),
}
KEYS = {
    "binary": {
        *("logloss", "auc", "pr_auc", "calibration", "ece", "accuracy", "f1"),
        *("gauc_impressions", "gauc_positives", "gauc_unweighted"),
    },
    "regression": {"rmse", "mae"},
    "multiclass": {"logloss", "accuracy", "f1_macro"},
    "multilabel": {"logloss", "auc", "pr_auc", "accuracy", "f1_micro", "f1_macro"},
}


def batch(task: Task) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    labels = torch.randint(0, task.classes if task.kind == "multiclass" else 2, (N, task.label_width)).float()
    labels[torch.rand(labels.shape) < 0.2] = torch.nan
    logits = torch.randn(N, task.outputs)
    return logits if task.classes else logits[:, 0], labels, torch.rand(N), torch.randint(0, 20, (N,))


def found(metric: Metric, columns: dict[str, Tensor], weight: Tensor) -> dict[str, Tensor]:
    metric.update(**columns, weight=weight)
    values: dict[str, Tensor] = metric.compute()
    return values


@pytest.mark.parametrize("kind", TASKS)
def test_task_metrics_are_the_metrics(kind: str) -> None:
    task = TASKS[kind]
    logits, labels, weight, group = batch(task)
    metrics = TaskMetrics(task, grouped=True)
    for start in range(0, N, 90):
        part = slice(start, start + 90)
        metrics.update(logits[part], labels[part], weight[part], group[part])
    result = metrics.compute()
    assert result.keys() == KEYS[kind]
    flat = labels if kind == "multilabel" else labels[:, 0]
    predictions = task.predict(logits)
    alone: dict[str, Tensor] = {}
    if kind == "regression":
        alone |= found(RegressionError(), {"predictions": predictions, "labels": flat}, weight)
    else:
        alone |= found(LogLoss(task), {"logits": logits, "labels": flat}, weight)
        decisions = Classification(kind, task.outputs)  # type: ignore[arg-type]
        alone |= found(decisions, {"predictions": predictions, "labels": flat}, weight)
    if kind == "binary":
        alone |= found(AUC(), {"scores": logits, "labels": flat}, weight)
        alone |= found(Calibration(), {"predictions": predictions, "labels": flat}, weight)
        alone |= found(GAUC(), {"scores": logits, "labels": flat, "groups": group}, weight)
    if kind == "multilabel":
        alone |= found(MacroAUC(3), {"scores": logits, "labels": flat}, weight)
    assert {k: float(v) for k, v in result.items()} == pytest.approx({k: float(v) for k, v in alone.items()}, abs=1e-9)
    losses, seen = task.row_losses(logits, labels)
    if kind != "regression":
        assert float(result["logloss"]) == pytest.approx(
            float((losses * weight).sum() / (weight * seen).sum()), abs=1e-6
        )
    metrics.reset()
    metrics.update(logits, labels, weight, group)
    again = {key: float(value) for key, value in metrics.compute().items()}
    assert again == pytest.approx({key: float(value) for key, value in result.items()}, abs=1e-9)
    assert metrics.state_dict() == {}


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_task_metrics_take_any_precision(kind: str, dtype: torch.dtype) -> None:
    logits, labels, weight, group = batch(TASKS[kind])
    results = []
    for given in (logits.to(dtype), logits.to(dtype).float()):
        metrics = TaskMetrics(TASKS[kind], grouped=True)
        metrics.update(given, labels, weight, group)
        results.append({key: float(value) for key, value in metrics.compute().items()})
    assert results[0] == pytest.approx(results[1], abs=1e-6)


def test_one_column_of_logits_is_as_good_as_none() -> None:
    logits, labels, _, _ = batch(TASKS["binary"])
    results = []
    for given in (logits, logits[:, None]):
        metrics = TaskMetrics(TASKS["binary"])
        metrics.update(given, labels)
        results.append(metrics.compute())
    assert results[0] == results[1]
    assert not any("gauc" in key for key in results[0])


def test_what_is_missing_is_said() -> None:
    logits, labels, weight, _ = batch(TASKS["binary"])
    with pytest.raises(ValueError, match="need the group of each row, but the batch has none"):
        TaskMetrics(Task("click"), grouped=True).update(logits, labels, weight)


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("share", [1.0, 0.01])
def test_nan_logits_leave_every_metric_of_a_task_undefined(kind: str, share: float) -> None:
    logits, labels, weight, group = batch(TASKS[kind])
    rows = torch.arange(N) < share * N
    labels[rows] = 0.0
    logits[rows] = torch.nan
    metrics = TaskMetrics(TASKS[kind], grouped=True)
    metrics.update(logits, labels, weight, group)
    assert all(value.isnan() for value in metrics.compute().values())
    labels[rows] = torch.nan
    metrics.reset()
    metrics.update(logits, labels, weight, group)
    if share < 1:
        assert not any(value.isnan() for value in metrics.compute().values())


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
@pytest.mark.parametrize("size", [0.01, 1.0, 30.0, 3e4])
def test_last_bits_of_logits_decide_nothing(kind: str, size: float) -> None:
    """Rows that are alike: whatever the batch makes of their last bits, AUC, PR-AUC and GAUC take them for ties."""
    task = TASKS[kind]
    labels = torch.randint(0, 2, (N, task.label_width)).float()
    group = torch.randint(0, 5, (N,))
    alike = (size * torch.randn(9, task.outputs))[torch.randint(0, 9, (N,))].squeeze(-1)
    # Sums of numbers of about 1 at least: their last bits are of that size however small the logit is.
    noise = alike.abs().clamp(min=1.0) * (torch.randint(-12, 13, alike.shape) * 2.0**-24)
    results = []
    for logits in (alike, alike + noise):
        metrics = TaskMetrics(task, grouped=True)
        metrics.update(logits, labels, None, group)
        results.append({k: float(v) for k, v in metrics.compute().items() if "auc" in k})
    assert results[0] == results[1]


def test_scores_that_differ_are_no_ties() -> None:
    """Not a chain of neighbours that are equal one by one, either."""
    scores = torch.arange(100_000).double() * 1e-6
    labels = (scores > 0.05).double()
    metrics = TaskMetrics(TASKS["binary"], grouped=True)
    metrics.update(scores, labels[:, None], None, torch.zeros(len(scores), dtype=torch.int64))
    values = metrics.compute()
    assert values["auc"] > 0.99999
    assert values["gauc_unweighted"] > 0.99999
