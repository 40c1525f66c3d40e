"""ROC-AUC and PR-AUC against scikit-learn, and the sketch against its certificate."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from mtlzoo.metrics import AUC, MacroAUC
from mtlzoo.metrics.sketch import roc_auc, union

Rows = tuple[Tensor, Tensor]


def labelled(logits: Tensor) -> Rows:
    return logits, (torch.rand(len(logits)) < logits.double().sigmoid()).float()


DISTRIBUTIONS: dict[str, Callable[[int], Rows]] = {
    "normal": lambda n: labelled(torch.randn(n) - 2),
    "concentrated": lambda n: (labelled(torch.randn(n))[0] * 1e-5 - 0.03, torch.rand(n).lt(0.2).float()),
    "two tight clusters": lambda n: labelled(torch.randint(-1, 2, (n,)) + 1e-6 * torch.randn(n)),
    "few values": lambda n: labelled(torch.randint(-3, 2, (n,)).float()),
    "half tied": lambda n: labelled(torch.where(torch.rand(n) < 0.5, -1.0, torch.randn(n))),
    "all equal": lambda n: (torch.full((n,), 0.25), torch.rand(n).lt(0.3).float()),
    "heavy tails": lambda n: labelled(torch.randn(n) / torch.randn(n).abs().clamp(min=1e-6)),
    "probabilities near 0": lambda n: (torch.rand(n) ** 9, torch.rand(n).lt(0.1).float()),
    "separated": lambda n: (torch.randn(n) + torch.linspace(-18, 18, n).sign() * 9, torch.arange(n).ge(n / 2).float()),
    "rare positives": lambda n: (torch.randn(n), torch.arange(n).remainder(997).eq(0).float()),
}  # fmt: skip

ORDERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "as drawn": lambda scores, labels: torch.arange(len(scores)),
    "ascending": lambda scores, labels: scores.argsort(stable=True),
    "descending": lambda scores, labels: scores.argsort(descending=True, stable=True),
    "negatives first": lambda scores, labels: labels.argsort(stable=True),
}


def fed(
    metric: AUC | MacroAUC, scores: Tensor, labels: Tensor, batch: int = 4096, weight: Tensor | None = None
) -> dict[str, float]:
    """What the metric gives after all rows, in batches."""
    for start in range(0, max(len(scores), 1), batch):
        rows = slice(start, start + batch)
        metric.update(scores[rows], labels[rows], None if weight is None else weight[rows])
    return {key: float(value) for key, value in metric.compute().items()}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("rows", [2, 50, 20_000])
def test_exact_below_capacity(name: str, rows: int) -> None:
    scores, labels = DISTRIBUTIONS[name](rows)
    labels[:2] = torch.tensor([0.0, 1.0])
    values = fed(AUC(), scores, labels, 777)
    assert values["auc"] == pytest.approx(roc_auc_score(labels, scores.double()), abs=1e-12)
    assert values["pr_auc"] == pytest.approx(average_precision_score(labels, scores.double()), abs=1e-12)


@pytest.mark.filterwarnings("ignore:AUC. with 256 buckets")
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_certificate_holds_when_buckets_are_joined(name: str, order: str) -> None:
    """40 times more rows than buckets: the error stays below the certificate, and that near 1 / capacity."""
    capacity = 256
    scores, labels = DISTRIBUTIONS[name](40 * capacity)
    shuffled = ORDERS[order](scores, labels)
    scores, labels = scores[shuffled], labels[shuffled]
    metric = AUC(capacity)
    values = fed(metric, scores, labels, 100)
    (sketch,) = metric.sketch
    error = abs(values["auc"] - roc_auc_score(labels, scores.double()))
    bound = float(roc_auc(sketch)[1])
    assert sketch.shape[1] <= capacity
    assert sketch[2:].sum(1).tolist() == [labels.sum(), (1 - labels).sum()]
    assert (sketch[0] <= sketch[1]).all()
    assert (sketch[0].diff() >= 0).all()
    assert error <= bound + 1e-12
    assert bound <= 1.2 / capacity
    assert error <= 0.3 / capacity
    assert values["pr_auc"] == pytest.approx(average_precision_score(labels, scores.double()), abs=2e-2)


@pytest.mark.filterwarnings("ignore:AUC. with 512 buckets")
def test_certificate_holds_under_drift() -> None:
    """Scores that settle in one spot of what came before make buckets overlap; the value stays honest."""
    rows = 60 * 512
    wide, narrow = labelled(torch.randn(rows // 10)), labelled(0.1 + 0.002 * torch.randn(rows))
    scores, labels = torch.cat([wide[0], narrow[0]]), torch.cat([wide[1], narrow[1]])
    metric = AUC(512)
    error = abs(fed(metric, scores, labels, 100)["auc"] - roc_auc_score(labels, scores.double()))
    assert error <= float(roc_auc(metric.sketch[0])[1]) <= 8 / 512


@pytest.mark.filterwarnings("ignore:AUC. with 256 buckets")
@pytest.mark.parametrize("ranks", [2, 8])
def test_certificate_holds_for_the_sketches_of_many_ranks(ranks: int) -> None:
    scores, labels = labelled(torch.randn(40 * 256).round(decimals=3))
    sketches = []
    for rank in range(ranks):
        metric = AUC(256)
        fed(metric, scores[rank::ranks], labels[rank::ranks], 100)
        sketches.append(metric.sketch[0])
    auc, bound = roc_auc(union(torch.cat(sketches, 1)))
    assert abs(float(auc) - roc_auc_score(labels, scores.double())) <= float(bound) <= 1.2 / 256


@pytest.mark.slow
def test_within_1e_6_at_the_default_capacity() -> None:
    scores, labels = labelled(torch.randn(5_000_000) - 3)
    metric = AUC()
    values = fed(metric, scores, labels, 2**18)  # warnings are errors: the certificate is below 1e-6
    assert metric.sketch[0].shape[1] == 2**20
    assert float(roc_auc(metric.sketch[0])[1]) < 1e-6
    assert values["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=2e-8)
    assert values["pr_auc"] == pytest.approx(average_precision_score(labels, scores), abs=2e-5)


def test_warns_where_it_is_not_certain() -> None:
    with pytest.warns(UserWarning, match=r"AUC\(capacity=32\) halves that"):
        fed(AUC(16), *labelled(torch.randn(5000)), 100)


@pytest.mark.filterwarnings("ignore:AUC. with")
@pytest.mark.parametrize(("capacity", "tolerance"), [(2**20, 1e-12), (64, 1 / 64)])
def test_weights_are_masses(capacity: int, tolerance: float) -> None:
    scores, labels = labelled(torch.randn(3000).round(decimals=1))
    weight = torch.randint(0, 4, (3000,)).float()
    values = fed(AUC(capacity), scores, labels, 100, weight)
    repeated = [t.repeat_interleave(weight.long()) for t in (scores, labels)]
    assert values == pytest.approx(fed(AUC(capacity), repeated[0], repeated[1], 100), abs=tolerance)
    exact = roc_auc_score(labels, scores.double(), sample_weight=weight)
    assert values["auc"] == pytest.approx(exact, abs=tolerance)


def test_weights_of_any_size() -> None:
    scores, labels = labelled(torch.randn(3000).round(decimals=1))
    weight = torch.rand(3000) ** 8
    values = fed(AUC(), scores, labels, 100, weight)
    options = {"sample_weight": weight.double()}
    assert values["auc"] == pytest.approx(roc_auc_score(labels, scores.double(), **options), abs=1e-7)
    assert values["pr_auc"] == pytest.approx(average_precision_score(labels, scores.double(), **options), abs=1e-7)


def test_scores_of_any_type() -> None:
    labels = torch.rand(4000).lt(0.3).float()
    scores = -4.6 + 1e-9 * torch.randn(4000, dtype=torch.float64)  # equal in float32
    assert fed(AUC(), scores, labels)["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    half = torch.randn(4000).bfloat16()
    assert fed(AUC(), half, labels)["auc"] == pytest.approx(roc_auc_score(labels, half.double()), abs=1e-12)
    extreme = torch.tensor([-torch.inf, -0.0, 0.0, torch.inf])
    assert fed(AUC(), extreme, torch.tensor([0.0, 0, 1, 1]))["auc"] == 0.875


@pytest.mark.parametrize(
    "labels",
    [torch.zeros(9), torch.ones(9), torch.full((9,), torch.nan), torch.zeros(0)],
    ids=["0", "1", "NaN", "none"],
)
def test_one_class_is_undefined(labels: Tensor) -> None:
    values = fed(AUC(), torch.randn(len(labels)), labels)
    assert all(np.isnan(value) for value in values.values())


def test_a_nan_score_is_no_number() -> None:
    scores, labels = labelled(torch.randn(100))
    scores[7] = torch.nan
    assert np.isnan(fed(AUC(), scores, labels)["auc"])
    labels[7] = torch.nan  # but one that isn't observed doesn't matter
    assert fed(AUC(), scores, labels)["auc"] > 0


def test_compute_in_between_changes_nothing() -> None:
    scores, labels = labelled(torch.randn(5000))
    metric = AUC()
    for end in range(1000, 6000, 1000):
        value = fed(metric, scores[end - 1000 : end], labels[end - 1000 : end])["auc"]
        assert value == pytest.approx(roc_auc_score(labels[:end], scores[:end]), abs=1e-12)


def test_forward_gives_the_batch_and_keeps_the_rest() -> None:
    scores, labels = labelled(torch.randn(300))
    metric = AUC()
    for start in (0, 100, 200):
        rows = slice(start, start + 100)
        batch = float(metric(scores[rows], labels[rows])["auc"])
        assert batch == pytest.approx(roc_auc_score(labels[rows], scores[rows]), abs=1e-12)
    assert float(metric.compute()["auc"]) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_memory_is_bounded() -> None:
    metric = AUC(1024)
    most = 0
    for _ in range(400):
        metric.update(*labelled(torch.randn(100)))
        most = max(most, sum(rows.shape[1] for rows in metric.buffer))
    assert most <= 2 * 1024 + 32 * 100


def test_macro_is_the_mean_over_defined_classes() -> None:
    scores = torch.randn(500, 4)
    labels = (torch.rand(500, 4) < scores.sigmoid()).float()
    labels[:, 2] = 1
    labels[torch.rand(500, 4) < 0.2] = torch.nan
    metric = MacroAUC(4)
    value = fed(metric, scores, labels, 77)["auc"]
    kept = [~labels[:, c].isnan() for c in range(4)]
    each = [roc_auc_score(labels[kept[c], c], scores[kept[c], c]) for c in (0, 1, 3)]
    assert value == pytest.approx(np.mean(each), abs=1e-12)
    metric.reset()
    assert np.isnan(fed(metric, scores, torch.ones(500, 4))["auc"])
