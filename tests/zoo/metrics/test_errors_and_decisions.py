"""Log loss, calibration, regression errors, accuracy and F1 against scikit-learn and the definitions."""

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    hamming_loss,
    log_loss,
    mean_absolute_error,
    root_mean_squared_error,
)
from torch import Tensor

from mtlzoo.metrics import Calibration, Classification, LogLoss, RegressionError
from mtlzoo.tasks import Task

N = 1000
Summed = LogLoss | Calibration | RegressionError | Classification


@pytest.fixture(params=[False, True], ids=["unweighted", "weighted"])
def weight(request: pytest.FixtureRequest) -> Tensor | None:
    return torch.rand(N) * torch.randint(0, 2, (N,)) if request.param else None


def gaps(labels: Tensor) -> Tensor:
    return torch.where(torch.rand_like(labels) < 0.2, torch.nan, labels)


def fed(metric: Summed, x: Tensor, labels: Tensor, weight: Tensor | None = None) -> dict[str, float]:
    """What the metric gives after all rows, in batches."""
    for start in range(0, len(x), 130):
        rows = slice(start, start + 130)
        metric.update(x[rows], labels[rows], None if weight is None else weight[rows])
    return {key: float(value) for key, value in metric.compute().items()}


def test_binary(weight: Tensor | None) -> None:
    logits = 3 * torch.randn(N)
    labels = gaps((torch.rand(N) < logits.sigmoid()).float())
    kept = ~labels.isnan()
    p, y = logits[kept].double().sigmoid().numpy(force=True), labels[kept].numpy(force=True)
    w = np.ones(len(y)) if weight is None else weight[kept].double().numpy(force=True)
    logloss = fed(LogLoss(Task("click")), logits, labels, weight)
    assert logloss == pytest.approx({"logloss": log_loss(y, p, sample_weight=w)}, abs=1e-7)
    bins = np.minimum((logits[kept].sigmoid().double().numpy(force=True) * 100).astype(int), 99)
    ece = sum(abs((w * (p - y))[bins == b].sum()) for b in range(100)) / w.sum()
    calibration = fed(Calibration(), logits.sigmoid(), labels, weight)
    assert calibration == pytest.approx({"calibration": (w * p).sum() / (w * y).sum(), "ece": ece}, abs=1e-6)
    accuracy, f1 = accuracy_score(y, p > 0.5, sample_weight=w), f1_score(y, p > 0.5, sample_weight=w)
    decisions = fed(Classification("binary"), logits.sigmoid(), labels, weight)
    assert decisions == pytest.approx({"accuracy": accuracy, "f1": f1}, abs=1e-9)


def test_certain_and_wrong_costs_its_logit() -> None:
    values = fed(LogLoss(Task("click")), torch.tensor([80.0, -80.0]), torch.tensor([0.0, 0.0]))
    assert values["logloss"] == pytest.approx(40.0)  # from probabilities it would be clipped or infinite


def test_regression(weight: Tensor | None) -> None:
    predictions, labels = torch.randn(N) + 1e4, gaps(torch.randn(N) + 1e4)
    kept = ~labels.isnan()
    x, y = predictions[kept].double(), labels[kept].double()
    options = {"sample_weight": None if weight is None else weight[kept].double()}
    expected = {"rmse": root_mean_squared_error(y, x, **options), "mae": mean_absolute_error(y, x, **options)}
    assert fed(RegressionError(), predictions, labels, weight) == pytest.approx(expected, rel=1e-12)


def test_multiclass(weight: Tensor | None) -> None:
    logits = torch.randn(N, 5)
    logits[:, 3] -= 100  # class 3 is never predicted and never true: it has no F1
    labels = gaps(torch.tensor([0.0, 1, 2, 4])[torch.randint(0, 4, (N,))])
    kept = ~labels.isnan()
    p, y = logits[kept].double().softmax(-1).numpy(force=True), labels[kept].numpy(force=True)
    options = {"sample_weight": None if weight is None else weight[kept].double().numpy(force=True)}
    logloss = fed(LogLoss(Task("education", "multiclass", classes=5)), logits, labels, weight)
    assert logloss == pytest.approx({"logloss": log_loss(y, p, labels=range(5), **options)}, abs=1e-6)
    expected = {
        "accuracy": accuracy_score(y, p.argmax(1), **options),
        "f1_macro": f1_score(y, p.argmax(1), average="macro", **options),
    }
    decisions = fed(Classification("multiclass", 5), logits.softmax(-1), labels, weight)
    assert decisions == pytest.approx(expected, abs=1e-9)


def test_multilabel() -> None:
    logits, labels = torch.randn(N, 4), torch.randint(0, 2, (N, 4)).float()
    p = logits.double().sigmoid().numpy(force=True)
    logloss = np.mean([log_loss(labels[:, c], p[:, c]) for c in range(4)])
    values = fed(LogLoss(Task("tags", "multilabel", classes=4)), logits, labels)
    assert values == pytest.approx({"logloss": logloss}, abs=1e-7)
    expected = {
        "accuracy": 1 - hamming_loss(labels, p > 0.5),
        "f1_micro": f1_score(labels, p > 0.5, average="micro"),
        "f1_macro": f1_score(labels, p > 0.5, average="macro"),
    }
    decisions = fed(Classification("multilabel", 4), logits.sigmoid(), labels)
    assert decisions == pytest.approx(expected, abs=1e-9)


def test_multilabel_with_gaps_counts_entries(weight: Tensor | None) -> None:
    p, labels = torch.rand(N, 3), gaps(torch.randint(0, 2, (N, 3)).float())
    labels[:, 1] = torch.nan  # nobody observed class 1
    kept, mass = ~labels.isnan(), torch.ones(N) if weight is None else weight
    right = ((p > 0.5) == labels.bool()) * mass[:, None]
    each = [f1_score(labels[kept[:, c], c], (p > 0.5)[kept[:, c], c], sample_weight=mass[kept[:, c]]) for c in (0, 2)]
    values = fed(Classification("multilabel", 3), p, labels, weight)
    assert values["accuracy"] == pytest.approx(float(right[kept].sum() / (kept * mass[:, None]).sum()), abs=1e-6)
    assert values["f1_macro"] == pytest.approx(np.mean(each), abs=1e-6)


def test_undefined_is_nan() -> None:
    nothing, probabilities = torch.full((5,), torch.nan), torch.rand(5)
    summed: list[Summed] = [LogLoss(Task("click")), Calibration(), Classification("binary"), RegressionError()]
    for metric in summed:
        assert all(np.isnan(value) for value in fed(metric, probabilities, nothing).values()), metric
    calibration = fed(Calibration(), probabilities, torch.zeros(5))
    assert np.isnan(calibration["calibration"])
    assert calibration["ece"] > 0
    decisions = fed(Classification("binary"), torch.zeros(5), torch.zeros(5))
    assert np.isnan(decisions["f1"])
    assert decisions["accuracy"] == 1


def test_calibration_at_the_ends_and_without_a_number() -> None:
    metric = Calibration()
    right = {"calibration": 1.0, "ece": 0.0}
    assert fed(metric, torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0])) == right
    assert fed(metric, torch.tensor([torch.nan]), torch.tensor([torch.nan])) == right
    assert np.isnan(fed(metric, torch.tensor([torch.nan]), torch.tensor([1.0]))["calibration"])


def test_sums_keep_small_parts_of_many_rows() -> None:
    values = fed(RegressionError(), torch.full((200_000,), 0.1), torch.zeros(200_000))
    assert values["mae"] == pytest.approx(float(torch.tensor(0.1)), rel=1e-12)  # float32 sums would be off by 1e-6
