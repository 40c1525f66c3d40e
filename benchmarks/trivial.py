"""What needs no model, as a measure for models: biases for ratings, popularity for interactions, frequent genres."""

from typing import Any

import torch
from torch import Tensor

from mtlzoo.datamodules import MovieLens
from mtlzoo.metrics.auc import AUC
from mtlzoo.metrics.classification import Classification
from mtlzoo.metrics.regression import RegressionError
from mtlzoo.schema import FIRST_KNOWN

DAMPING = 10.0
"""Ratings of the mean that are added to those of each user and item."""


def trivial(data: MovieLens) -> dict[str, dict[str, float]]:
    """Test metrics by task and baseline; all of them learn from train alone."""
    train, test = (columns(data, split) for split in ("train", "test"))
    return {"rating": _ratings(train, test), "interaction": _interactions(train, test), "genres": _genres(train, test)}


def columns(data: MovieLens, split: str) -> dict[str, Any]:
    """Users, items and the labels of every task."""
    found = data.data[split]
    names = [feature.name for feature in data.schema.categorical]
    ids = {name: found["categorical"][:, names.index(name)].long() for name in ("user", "item")}
    return ids | {task.name: found["labels"][:, place] for task, place in data.schema.label_columns}


def _ratings(train: dict[str, Any], test: dict[str, Any]) -> dict[str, float]:
    rated = ~train["rating"][:, 0].isnan()
    stars, user, item = train["rating"][rated, 0].double(), train["user"][rated], train["item"][rated]
    mean = stars.mean()
    of_item = _bias(item, stars - mean)
    of_user = _bias(user, stars - mean - of_item[item])
    known = [torch.where(test[name] < FIRST_KNOWN, 0, test[name]) for name in ("user", "item")]
    biased = mean + _padded(of_user, known[0]) + _padded(of_item, known[1])
    found = {}
    for name, predicted in (("mean", mean.expand(len(biased))), ("mean, item and user bias", biased)):
        metric = RegressionError()
        metric.update(predicted, test["rating"][:, 0])
        found[f"rmse, {name}"] = float(metric.compute()["rmse"])
    return found


def _interactions(train: dict[str, Any], test: dict[str, Any]) -> dict[str, float]:
    often = torch.bincount(train["item"][train["interaction"][:, 0] == 1])
    metric = AUC()
    metric.update(_padded(often, test["item"]).double(), test["interaction"][:, 0])
    return {"auc, popularity of the item": float(metric.compute()["auc"])}


def _genres(train: dict[str, Any], test: dict[str, Any]) -> dict[str, float]:
    """The most frequent genres for every film, as many as are best on train."""
    order = train["genres"].nanmean(0).argsort(descending=True)
    scores = [_f1(order[: k + 1], train["genres"]) for k in range(len(order))]
    best = max(range(len(order)), key=lambda k: scores[k]["f1_micro"])
    f1 = _f1(order[: best + 1], test["genres"])
    accuracy = _f1(order[:0], test["genres"])["accuracy"]
    return {f"f1_micro, the {best + 1} most frequent": f1["f1_micro"], "accuracy, no genre": accuracy}


def _f1(chosen: Tensor, labels: Tensor) -> dict[str, float]:
    predicted = torch.zeros(labels.shape[1]).index_fill(0, chosen, 1.0)
    metric = Classification("multilabel", labels.shape[1])
    metric.update(predicted.expand(labels.shape), labels)
    return {name: float(value) for name, value in metric.compute().items()}


def _bias(ids: Tensor, values: Tensor) -> Tensor:
    return torch.bincount(ids, values) / (torch.bincount(ids) + DAMPING)


def _padded(table: Tensor, ids: Tensor) -> Tensor:
    """Values of ids; 0 of those beyond the table."""
    return torch.where(ids < len(table), table[ids.clamp(max=len(table) - 1)], 0)
