"""What holds for every metric of the package, found by looking."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

import mtlzoo.metrics
from mtlzoo.metrics import AUC, GAUC, Calibration, Classification, LogLoss, MacroAUC, RegressionError
from mtlzoo.tasks import Task

N = 400
Columns = dict[str, Tensor]
"""Arguments of `update` by name, without the weight."""


def binary() -> Columns:
    return {"scores": torch.rand(N), "labels": torch.randint(0, 2, (N,)).float()}


def classes(first: str, kind: str) -> Columns:
    labels = torch.randint(0, 3, (N,)).float() if kind == "multiclass" else torch.randint(0, 2, (N, 3)).float()
    return {first: torch.rand(N, 3), "labels": labels}


def named(first: str, columns: Columns) -> Columns:
    return {first: columns["scores"], "labels": columns["labels"]}


CASES: dict[str, tuple[Callable[[], Metric], Callable[[], Columns]]] = {
    "AUC": (AUC, binary),
    "AUC of 4": (lambda: AUC(2**12), binary),
    "MacroAUC": (lambda: MacroAUC(3), lambda: classes("scores", "multilabel")),
    "GAUC": (GAUC, lambda: {**binary(), "groups": torch.randint(0, 30, (N,))}),
    "Calibration": (Calibration, lambda: named("predictions", binary())),
    "RegressionError": (RegressionError, lambda: {"predictions": torch.randn(N), "labels": torch.randn(N)}),
    "LogLoss": (lambda: LogLoss(Task("t")), lambda: named("logits", binary())),
    "LogLoss of classes": (
        lambda: LogLoss(Task("t", "multiclass", classes=3)),
        lambda: classes("logits", "multiclass"),
    ),
    "LogLoss of labels": (
        lambda: LogLoss(Task("t", "multilabel", classes=3)),
        lambda: classes("logits", "multilabel"),
    ),
    "Classification": (lambda: Classification("binary"), lambda: named("predictions", binary())),
    "Classification of classes": (
        lambda: Classification("multiclass", 3),
        lambda: classes("predictions", "multiclass"),
    ),
    "Classification of labels": (lambda: Classification("multilabel", 3), lambda: classes("predictions", "multilabel")),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Callable[[], Metric], Columns]:
    make, columns = CASES[request.param]
    return make, columns()


def fed(metric: Metric, columns: Columns, batch: int = N, weight: Tensor | None = None) -> Metric:
    for start in range(0, len(columns["labels"]), batch):
        part = slice(start, start + batch)
        metric.update(**{k: v[part] for k, v in columns.items()}, weight=None if weight is None else weight[part])
    return metric


def values(metric: Metric) -> dict[str, float]:
    result = metric.compute()
    assert all(value.dtype == torch.float64 and value.ndim == 0 for value in result.values())
    return {key: float(value) for key, value in result.items()}


def test_every_metric_is_tried() -> None:
    found = {name for name in mtlzoo.metrics.__all__ if _is_metric(getattr(mtlzoo.metrics, name))}
    found.remove(
        "RankingMetrics"
    )  # of users, not of rows with labels: test_ranking.py, and test_pmtrec.py on two ranks
    assert found == {type(make()).__name__ for make, _ in CASES.values()}


def _is_metric(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, Metric)


def test_small_updates_equal_one(case: tuple[Callable[[], Metric], Columns]) -> None:
    make, columns = case
    whole = values(fed(make(), columns))
    assert all(value == value for value in whole.values())
    assert values(fed(make(), columns, 7)) == pytest.approx(whole, abs=1e-12)


def test_unobserved_rows_are_left_out(case: tuple[Callable[[], Metric], Columns]) -> None:
    make, columns = case
    kept = torch.rand(N) < 0.6
    gaps = {**columns, "labels": columns["labels"].clone()}
    gaps["labels"][~kept] = torch.nan
    expected = values(fed(make(), {key: column[kept] for key, column in columns.items()}))
    assert values(fed(make(), gaps, 50)) == pytest.approx(expected, abs=1e-12)
    weighed = values(fed(make(), columns, 50, kept.float()))  # weight 0 is another way to leave out
    assert weighed == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("place", [0, N // 2])
def test_a_prediction_that_is_nan_leaves_all_undefined(case: tuple[Callable[[], Metric], Columns], place: int) -> None:
    """One row of many, one class of many; where the label is not observed, or counts nothing, it does not matter."""
    make, columns = case
    first = next(iter(columns))
    broken = {**columns, first: columns[first].clone(), "labels": columns["labels"].clone()}
    broken[first].view(N, -1)[place, -1] = torch.nan
    for batch in (N, 50):
        assert all(value != value for value in values(fed(make(), broken, batch)).values())
    weight = torch.ones(N)
    weight[place] = 0
    expected = values(fed(make(), columns, 50, weight))
    assert values(fed(make(), broken, 50, weight)) == pytest.approx(expected, abs=1e-12)
    broken["labels"][place] = torch.nan
    assert values(fed(make(), broken, 50)) == pytest.approx(expected, abs=1e-12)


def test_weights_are_relative(case: tuple[Callable[[], Metric], Columns]) -> None:
    make, columns = case
    weight = torch.randint(1, 4, (N,)).float()
    doubled = values(fed(make(), columns, 50, 2 * weight))
    repeated = {key: column.repeat_interleave(weight.long(), 0) for key, column in columns.items()}
    assert values(fed(make(), columns, 50, weight)) == pytest.approx(doubled, abs=1e-12)
    assert values(fed(make(), repeated, 50)) == pytest.approx(doubled, abs=1e-12)
    assert values(fed(make(), columns, 50, torch.ones(N))) == pytest.approx(values(fed(make(), columns)), abs=1e-12)


def test_copies_pickles_and_resets(case: tuple[Callable[[], Metric], Columns]) -> None:
    make, columns = case
    metric = fed(make(), columns, 50)
    for twin in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        fed(twin, columns, 50)  # has the rows so far, and takes more without touching the original's
        assert values(twin) == pytest.approx(values(metric), abs=1e-12)
    expected = values(metric)
    metric.reset()
    fed(metric, {key: column[:10] for key, column in columns.items()})
    metric.reset()
    assert values(fed(metric, columns, 50)) == pytest.approx(expected, abs=1e-12)


def test_checkpoints_hold_nothing_of_it(case: tuple[Callable[[], Metric], Columns]) -> None:
    make, columns = case
    metric = fed(make(), columns)
    assert metric.state_dict() == {}
    assert list(metric.parameters()) == []


def test_keeps_float64_when_the_module_changes_type(case: tuple[Callable[[], Metric], Columns]) -> None:
    make, columns = case
    expected = values(fed(make(), columns, 50))
    module = torch.nn.ModuleDict({"metric": make()}).half().bfloat16().to(torch.float32)
    metric = module["metric"]
    assert isinstance(metric, Metric)
    assert values(fed(metric, columns, 50)) == pytest.approx(expected, abs=1e-12)


def test_moves_and_never_waits_for_the_device(case: tuple[Callable[[], Metric], Columns]) -> None:
    """Tensors on "meta" have no values: whoever asks for one, as `item` and boolean masks do, fails."""
    make, columns = case
    metric = make().to("meta")
    fed(metric, {key: column.to("meta") for key, column in columns.items()}, 100, torch.ones(N, device="meta"))


def test_inference_mode_and_gradients(case: tuple[Callable[[], Metric], Columns]) -> None:
    make, columns = case
    expected = values(fed(make(), columns, 50))
    with torch.inference_mode():
        metric = fed(make(), columns, 50)
        assert values(metric) == pytest.approx(expected, abs=1e-12)
        metric.reset()
    first = next(iter(columns))
    fed(metric, {**columns, first: columns[first].clone().requires_grad_()}, 50)  # made inside, used outside
    assert values(metric) == pytest.approx(expected, abs=1e-12)
    assert not any(value.requires_grad for value in metric.compute().values())


def test_a_collection_mixes_nothing_up() -> None:
    """torchmetrics lets metrics of equal state share it, and after a batch that nobody observed all sums are 0."""
    task = Task("t")
    both = MetricCollection({"error": RegressionError(), "loss": LogLoss(task), "calibration": Calibration()})
    for labels in (torch.full((N,), torch.nan), torch.randint(0, 2, (N,)).float()):
        predictions = torch.rand(N)
        both.update(predictions=predictions, logits=predictions, labels=labels)
    assert float(both.compute()["mae"]) == pytest.approx(float((predictions - labels).abs().mean()), abs=1e-6)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(predictions, labels)
    assert float(both.compute()["logloss"]) == pytest.approx(float(loss), abs=1e-6)
