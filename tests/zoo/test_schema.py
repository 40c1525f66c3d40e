"""Schemas and tasks: checks, plain form, losses, predictions."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from mtlzoo.schema import Categorical, FeatureSchema, Links, Numeric, Sequence
from mtlzoo.tasks import Task

FEATURES = (
    Categorical("user", 10),
    Numeric("age"),
    Categorical("item", 20),
    Sequence("history", 20, 4, table="item", pooling="attention", target="item"),
)
TASKS = (Task("click", weight=0.5), Task("genre", "multilabel", classes=3), Task("stars", "regression"))


def test_plain_form_is_json_and_comes_back_equal() -> None:
    schema = FeatureSchema(FEATURES, TASKS, user="user", item="item", group="user_id", ids=("user_id", "item_id"))
    plain = json.loads(json.dumps(schema.to_dict()))
    assert FeatureSchema.from_dict(plain) == schema
    assert hash(FeatureSchema.from_dict(plain)) == hash(schema)
    assert FeatureSchema.from_dict(schema) is schema


def test_knows_tables_and_label_columns() -> None:
    schema = FeatureSchema(FEATURES, TASKS)
    assert schema.tables == {"user": 10, "item": 20}
    assert [(task.name, columns) for task, columns in schema.label_columns] == [
        ("click", slice(0, 1)),
        ("genre", slice(1, 4)),
        ("stars", slice(4, 5)),
    ]
    assert [f.name for f in schema.categorical] == ["user", "item"]


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        ((*FEATURES, Numeric("age")), {}, r"feature names occur more than once: \['age'\]"),
        (FEATURES, {"tasks": ()}, "no task"),
        (FEATURES, {"tasks": (Task("a"), Task("a"))}, "task names occur more than once"),
        (FEATURES, {"user": "age"}, r"user='age' is not one of the categorical features \['item', 'user'\]"),
        ((Categorical("a", 5), Sequence("b", 6, 2, table="a")), {}, "5 and 6 ids"),
        ((Categorical("a", 5), Sequence("b", 5, 2, pooling="attention")), {}, "needs target="),
        ((Sequence("labels", 5, 2),), {}, "may not be named 'labels'"),
    ],
)
def test_refuses_what_cannot_be(features: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureSchema(features, **{"tasks": TASKS, **options})


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a/b"},
        {"name": ""},
        {"name": "a", "kind": "ordinal"},
        {"name": "a", "kind": "multiclass"},
        {"name": "a", "classes": 3},
        {"name": "a", "weight": -1.0},
        {"name": "a", "weight": math.nan},
        {"name": "a", "weight": "2"},
        {"name": "a", "weight": True},
        {"name": "a", "kind": "multiclass", "classes": 3.0},
        {"name": "a", "kind": "regression", "scale": 0.0},
        {"name": "a", "kind": "regression", "scale": math.inf},
    ],
)
def test_refuses_impossible_tasks(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Task"):
        Task(**wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Categorical("a", 1), r"Categorical 'a': cardinality=1; allowed are whole numbers from 2"),
        (lambda: Categorical("a", "9"), "cardinality='9'"),  # type: ignore[arg-type]
        (lambda: Categorical("", 9), "name=''; allowed are texts that are not empty"),
        (lambda: Categorical("a", 9, kind="numeric"), "kind='numeric'; allowed are 'categorical'"),  # type: ignore[arg-type]
        (lambda: Numeric(3), "name=3; allowed are texts"),  # type: ignore[arg-type]
        (lambda: Sequence("a", 9, 0), "max_length=0; allowed are whole numbers >= 1"),
        (lambda: Sequence("a", 9, 2, pooling="avg"), "pooling='avg'; allowed are 'mean', 'sum', 'max', 'attention'"),  # type: ignore[arg-type]
        (lambda: Sequence("a", 9, 2, pooling="Mean"), "Did you mean 'mean'"),  # type: ignore[arg-type]
        (lambda: Links("a", "users"), "of='users'; allowed are 'user', 'item'. Did you mean 'user'"),  # type: ignore[arg-type]
        (lambda: FeatureSchema(FEATURES, TASKS, ids="user"), "ids='user'; allowed are lists of texts"),  # type: ignore[arg-type]
        (lambda: FeatureSchema(FEATURES, TASKS, group=3), "group=3; allowed are texts that are not empty or None"),  # type: ignore[arg-type]
        (lambda: FeatureSchema(FEATURES, ["click"]), r"tasks=\['click'\]; allowed are lists of Task"),  # type: ignore[arg-type]
    ],
)
def test_refuses_values_that_are_not_allowed_and_tells_the_nearest(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_numbers_of_numpy_and_lists_are_taken() -> None:
    feature = Categorical("a", np.int64(9))  # type: ignore[arg-type]
    assert type(feature.cardinality) is int
    assert FeatureSchema([feature], [Task("t", weight=np.float32(0.5))], ids=["a"]).ids == ("a",)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("task", "logits", "labels"),
    [
        (Task("a"), torch.randn(6), torch.tensor([0.0, 1, 1, 0, math.nan, 1]).unsqueeze(1)),
        (
            Task("a", "regression", center=2.0, scale=3.0),
            torch.randn(6),
            torch.tensor([5.0, math.nan, 1, 0, 2, 9]).unsqueeze(1),
        ),
        (Task("a", "multiclass", classes=3), torch.randn(6, 3), torch.tensor([0.0, 2, math.nan, 1, 1, 0]).unsqueeze(1)),
        (
            Task("a", "multilabel", classes=2),
            torch.randn(6, 2),
            torch.tensor([[0.0, 1], [1, 1], [math.nan, 1], [math.nan, math.nan], [0, 0], [1, 0]]),
        ),
    ],
)
def test_rows_without_a_label_have_no_loss_and_no_gradient(
    task: Task, logits: torch.Tensor, labels: torch.Tensor
) -> None:
    logits.requires_grad_()
    losses, observed = task.row_losses(logits, labels)
    assert observed.tolist() == (~labels.isnan()).any(1).tolist()
    assert (losses[~observed] == 0).all()
    losses.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert not logits.grad[~observed].any()
    with torch.no_grad():
        alone, _ = task.row_losses(logits[observed], labels[observed])
    torch.testing.assert_close(losses[observed], alone)


def test_losses_are_torchs() -> None:
    logits, labels = torch.randn(8, 3), torch.randint(0, 3, (8,))
    losses, _ = Task("a", "multiclass", classes=3).row_losses(logits, labels.float().unsqueeze(1))
    torch.testing.assert_close(losses.mean(), torch.nn.functional.cross_entropy(logits, labels))
    hot = torch.nn.functional.one_hot(labels, 3).float()
    losses, _ = Task("a", "multilabel", classes=3).row_losses(logits, hot)
    torch.testing.assert_close(losses.mean(), torch.nn.functional.binary_cross_entropy_with_logits(logits, hot))


def test_losses_of_half_precision_logits_are_single() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        losses, _ = Task("a").row_losses(torch.full((2,), 30.0, dtype=dtype), torch.zeros(2, 1))
        assert losses.dtype == torch.float32
        assert losses.tolist() == pytest.approx([30.0, 30.0])


def test_predictions_are_in_the_labels_units() -> None:
    logits = torch.tensor([0.0, 1.0])
    assert Task("a").predict(logits).tolist() == pytest.approx([0.5, 1 / (1 + math.exp(-1))])
    assert Task("a", "regression", center=10.0, scale=2.0).predict(logits).tolist() == [10.0, 12.0]
    torch.testing.assert_close(Task("a", "multiclass", classes=2).predict(logits.unsqueeze(0)).sum(), torch.tensor(1.0))


@pytest.mark.parametrize("kind", ["ranking", "link", "alignment"])
def test_a_task_that_compares_vectors_has_no_loss_of_logits(kind: Any) -> None:
    with pytest.raises(NotImplementedError, match="compares vectors"):
        Task("a", kind).row_losses(torch.zeros(1), torch.zeros(1, 1))


def test_links_are_of_users_or_items_that_are_there() -> None:
    user, item = Categorical("u", 5), Categorical("i", 5)
    friends = Task("friends", "link")
    good = FeatureSchema((user, item), (friends,), "u", "i", links=(Links("friends", "user"),))
    assert FeatureSchema.from_dict(good.to_dict()) == good
    older = FeatureSchema((user, item), (Task("a"),)).to_dict()
    del older["links"]  # as in checkpoints from before there were links
    assert FeatureSchema.from_dict(older).links == ()
    with pytest.raises(ValueError, match="no links of that name"):
        FeatureSchema((user, item), (friends,), "u", "i")
    with pytest.raises(ValueError, match="needs a user and an item"):
        FeatureSchema((user, item), (Task("r", "ranking"),), "u")
    with pytest.raises(ValueError, match="allowed are 'user', 'item'"):
        FeatureSchema((user, item), (friends,), "u", "i", links=(Links("friends", "person"),))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reserved names"):
        FeatureSchema((user, item), (Task("a"),), "u", "i", links=(Links("labels", "user"),))
