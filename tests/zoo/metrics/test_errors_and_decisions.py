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


@pytest.fixture(params=[False, True], ids=["unweighted", "weighted"])
def weight(request: pytest.FixtureRequest) -> Tensor | None:
    return torch.rand(N) * torch.randint(0, 2, (N,)) if request.param else None


def gaps(labels: Tensor) -> Tensor:
    return torch.where(torch.rand_like(labels) < 0.2, torch.nan, labels)


def parts(*tensors: Tensor | None) -> list[tuple[Tensor | None, ...]]:
    cuts = [range(0, N, 130)[i] for i in range(len(range(0, N, 130)))]
    return [tuple(None if t is None else t[start : start + 130] for t in tensors) for start in cuts]


def values(metric: LogLoss | Calibration | RegressionError | Classification) -> dict[str, float]:
    return {key: float(value) for key, value in metric.compute().items()}


def test_binary(weight: Tensor | None) -> None:
    logits = 3 * torch.randn(N)
    labels = gaps((torch.rand(N) < logits.sigmoid()).float())
    metrics = (LogLoss(Task("click")), Calibration(), Classification("binary"))
    for x, y, w in parts(logits, labels, weight):
        assert x is not None
        assert y is not None
        metrics[0].update(x, y, w)
        for metric in metrics[1:]:
            metric.update(x.sigmoid(), y, w)
    kept = ~labels.isnan()
    p, y = logits[kept].double().sigmoid().numpy(), labels[kept].numpy()
    w = np.ones(len(y)) if weight is None else weight[kept].double().numpy()
    assert values(metrics[0]) == pytest.approx({"logloss": log_loss(y, p, sample_weight=w)}, abs=1e-7)
    ece = 0.0
    for b in range(100):
        rows = np.minimum((logits[kept].sigmoid().double().numpy() * 100).astype(int), 99) == b
        ece += abs((w[rows] * (p[rows] - y[rows])).sum()) / w.sum()
    assert values(metrics[1]) == pytest.approx({"calibration": (w * p).sum() / (w * y).sum(), "ece": ece}, abs=1e-6)
    accuracy, f1 = accuracy_score(y, p > 0.5, sample_weight=w), f1_score(y, p > 0.5, sample_weight=w)
    assert values(metrics[2]) == pytest.approx({"accuracy": accuracy, "f1": f1}, abs=1e-9)


def test_certain_and_wrong_costs_its_logit() -> None:
    metric = LogLoss(Task("click"))
    metric.update(torch.tensor([80.0, -80.0]), torch.tensor([0.0, 0.0]))
    assert values(metric)["logloss"] == pytest.approx(40.0)  # from probabilities it would be clipped or infinite


def test_regression(weight: Tensor | None) -> None:
    predictions, labels = torch.randn(N) + 1e4, gaps(torch.randn(N) + 1e4)
    metric = RegressionError()
    for x, y, w in parts(predictions, labels, weight):
        assert x is not None
        assert y is not None
        metric.update(x, y, w)
    kept = ~labels.isnan()
    x, y = predictions[kept].double(), labels[kept].double()
    w = None if weight is None else weight[kept].double()
    expected = {
        "rmse": root_mean_squared_error(y, x, sample_weight=w),
        "mae": mean_absolute_error(y, x, sample_weight=w),
    }
    assert values(metric) == pytest.approx(expected, rel=1e-12)


def test_multiclass(weight: Tensor | None) -> None:
    task = Task("education", "multiclass", classes=5)
    logits = torch.randn(N, 5)
    logits[:, 3] -= 100  # class 3 is never predicted and never true: it has no F1
    labels = torch.tensor([0.0, 1, 2, 4])[torch.randint(0, 4, (N,))]
    labels = gaps(labels)
    metrics = (LogLoss(task), Classification("multiclass", 5))
    for x, y, w in parts(logits, labels, weight):
        assert x is not None
        assert y is not None
        metrics[0].update(x, y, w)
        metrics[1].update(x.softmax(-1), y, w)
    kept = ~labels.isnan()
    p, y = logits[kept].double().softmax(-1).numpy(), labels[kept].numpy()
    w = None if weight is None else weight[kept].double().numpy()
    assert values(metrics[0])["logloss"] == pytest.approx(log_loss(y, p, labels=range(5), sample_weight=w), abs=1e-6)
    expected = {
        "accuracy": accuracy_score(y, p.argmax(1), sample_weight=w),
        "f1_macro": f1_score(y, p.argmax(1), average="macro", sample_weight=w),
    }
    assert values(metrics[1]) == pytest.approx(expected, abs=1e-9)


def test_multilabel() -> None:
    task = Task("tags", "multilabel", classes=4)
    logits, labels = torch.randn(N, 4), torch.randint(0, 2, (N, 4)).float()
    metrics = (LogLoss(task), Classification("multilabel", 4))
    for x, y in parts(logits, labels):
        assert x is not None
        assert y is not None
        metrics[0].update(x, y)
        metrics[1].update(x.sigmoid(), y)
    p = logits.double().sigmoid().numpy()
    logloss = np.mean([log_loss(labels[:, c], p[:, c]) for c in range(4)])
    assert values(metrics[0])["logloss"] == pytest.approx(logloss, abs=1e-7)
    expected = {
        "accuracy": 1 - hamming_loss(labels, p > 0.5),
        "f1_micro": f1_score(labels, p > 0.5, average="micro"),
        "f1_macro": f1_score(labels, p > 0.5, average="macro"),
    }
    assert values(metrics[1]) == pytest.approx(expected, abs=1e-9)


def test_multilabel_with_gaps_counts_entries(weight: Tensor | None) -> None:
    p, labels = torch.rand(N, 3), gaps(torch.randint(0, 2, (N, 3)).float())
    labels[:, 1] = torch.nan  # nobody observed class 1
    metric = Classification("multilabel", 3)
    for x, y, w in parts(p, labels, weight):
        assert x is not None
        assert y is not None
        metric.update(x, y, w)
    kept = ~labels.isnan()
    w = (torch.ones(N) if weight is None else weight)[:, None].expand(N, 3)[kept]
    right = (p > 0.5)[kept] == labels[kept].bool()
    each = [
        f1_score(
            labels[kept[:, c], c],
            (p > 0.5)[kept[:, c], c],
            sample_weight=None if weight is None else weight[kept[:, c]],
        )
        for c in (0, 2)
    ]
    result = values(metric)
    assert result["accuracy"] == pytest.approx(float((w * right).sum() / w.sum()), abs=1e-6)
    assert result["f1_macro"] == pytest.approx(np.mean(each), abs=1e-6)


def test_undefined_is_nan() -> None:
    nothing = torch.full((5,), torch.nan)
    probabilities = torch.rand(5)
    for metric in (LogLoss(Task("click")), Calibration(), Classification("binary"), RegressionError()):
        metric.update(probabilities, nothing)
        assert all(np.isnan(value) for value in values(metric).values()), metric
    calibration, decisions = Calibration(), Classification("binary")
    calibration.update(probabilities, torch.zeros(5))
    decisions.update(torch.zeros(5), torch.zeros(5))
    assert np.isnan(values(calibration)["calibration"])
    assert values(calibration)["ece"] > 0
    assert np.isnan(values(decisions)["f1"])
    assert values(decisions)["accuracy"] == 1


def test_calibration_at_the_ends_and_without_a_number() -> None:
    metric = Calibration()
    metric.update(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0]))
    assert values(metric) == {"calibration": 1.0, "ece": 0.0}
    metric.update(torch.tensor([torch.nan]), torch.tensor([torch.nan]))
    assert values(metric) == {"calibration": 1.0, "ece": 0.0}
    metric.update(torch.tensor([torch.nan]), torch.tensor([1.0]))
    assert np.isnan(values(metric)["calibration"])


def test_sums_keep_small_parts_of_many_rows() -> None:
    metric = RegressionError()
    for _ in range(100):
        metric.update(torch.full((30_000,), 0.1), torch.zeros(30_000))
    assert values(metric)["mae"] == pytest.approx(
        float(torch.tensor(0.1)), rel=1e-12
    )  # float32 sums would be off by 1e-6
