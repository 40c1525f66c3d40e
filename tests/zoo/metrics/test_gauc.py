"""GAUC against a loop over groups with scikit-learn."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from mtlzoo.metrics import GAUC
from mtlzoo.metrics import gauc as gauc_module
from mtlzoo.metrics import grouped as grouped_module


def reference(scores: Tensor, labels: Tensor, groups: Tensor, weight: Tensor | None = None) -> dict[str, float]:
    """The definition, one group after the other."""
    weight = torch.ones(len(scores)) if weight is None else weight
    used = ~labels.isnan() & (weight > 0)
    scores, labels, groups, weight = scores[used].double(), labels[used], groups[used], weight[used].double()
    aucs, impressions, positives = [], [], []
    for group in set(groups.tolist()):
        rows = groups == group
        if 0 < labels[rows].sum() < rows.sum():
            aucs.append(roc_auc_score(labels[rows], scores[rows], sample_weight=weight[rows]))
            impressions.append(float(weight[rows].sum()))
            positives.append(float(weight[rows & (labels == 1)].sum()))
    return {
        "gauc_impressions": float(np.average(aucs, weights=impressions)),
        "gauc_positives": float(np.average(aucs, weights=positives)),
        "gauc_unweighted": float(np.mean(aucs)),
    }


def rows(n: int, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    group = (torch.rand(n) ** 3 * groups).long()  # a few big groups, many of one row
    return torch.randn(n), (torch.rand(n) < 0.1 + 0.3 * torch.rand(groups)[group]).float(), group


CASES: dict[str, Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]] = {
    "plain": lambda s, y, g: (s, y, g),
    "tied scores": lambda s, y, g: (s.round(decimals=0), y, g),
    "one score": lambda s, y, g: (torch.zeros_like(s), y, g),
    "signed zeros": lambda s, y, g: (torch.where(s > 0, 0.0, -0.0), y, g),
    "concentrated": lambda s, y, g: (1e-5 * s - 0.02, y, g),
    "unobserved": lambda s, y, g: (s, torch.where(torch.rand(len(y)) < 0.3, torch.nan, y), g),
    "far ids": lambda s, y, g: (s, y, (g - 5) * (2**62 // 400)),
    "negative ids": lambda s, y, g: (s, y, -g),
    "one group": lambda s, y, g: (s, y, torch.full_like(g, 7)),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_equals_a_loop_over_groups(name: str, weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauc_module, "BLOCK", 500)
    monkeypatch.setattr(grouped_module, "_CHUNK", 97)
    scores, labels, groups = CASES[name](*rows(1500, 60))
    weight = torch.randint(0, 3, (1500,)).float() * 0.7 if weighted else None
    metric = GAUC()
    for start in range(0, 1500, 61):
        part = slice(start, start + 61)
        metric.update(scores[part], labels[part], groups[part], None if weight is None else weight[part])
    expected = reference(scores, labels, groups, weight)
    assert {key: float(value) for key, value in metric.compute().items()} == pytest.approx(expected, abs=1e-9)


def test_the_three_weightings_differ() -> None:
    # Group 0: AUC 1 with 1 positive of 2 rows. Group 1: AUC 1/2 with 3 of 4. Groups 2 and 3 have one class.
    scores = torch.tensor([0.0, 1, 2, 2, 2, 2, 5, 6])
    labels = torch.tensor([0.0, 1, 1, 1, 1, 0, 1, 0])
    metric = GAUC()
    metric.update(scores, labels, torch.tensor([0, 0, 1, 1, 1, 1, 2, 3]))
    values = {key: float(value) for key, value in metric.compute().items()}
    assert values == pytest.approx({"gauc_impressions": 4 / 6, "gauc_positives": 2.5 / 4, "gauc_unweighted": 0.75})


@pytest.mark.parametrize("n", [0, 1, 40])
def test_no_group_with_both_classes_is_undefined(n: int) -> None:
    metric = GAUC()
    metric.update(torch.randn(n), (torch.arange(n) % 2).float(), torch.arange(n))
    assert all(value.isnan() for value in metric.compute().values())


def test_a_nan_score_is_no_number() -> None:
    scores, labels, groups = rows(100, 5)
    scores[3] = torch.nan
    metric = GAUC()
    metric.update(scores, labels, groups)
    assert metric.compute()["gauc_unweighted"].isnan()


def test_rows_wait_on_the_device_in_few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauc_module, "BLOCK", 1000)
    metric = GAUC()
    for _ in range(1000):
        metric.update(*rows(50, 9))
    assert len(metric.rows) <= 50_000 / 1000 + 32
    assert sum(block.shape[1] for block in metric.rows) == 50_000
