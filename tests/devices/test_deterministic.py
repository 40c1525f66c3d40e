"""`Trainer(deterministic=True)`: nothing of ours asks CUDA for what it is documented to refuse then."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import train_script as toy
from chosen_device import DEVICE, NAME
from every_model import MODELS, build, trainer
from every_rule import builders

from fixtures.friends import Friends
from mtlzoo import PMTRec
from mtlzoo.callbacks import EmbeddingMonitor, GateMonitor, GradientSurgery, LossBalancing, rules
from mtlzoo.callbacks.rules import GradientRule, GramianRule, LossRule
from mtlzoo.metrics import TaskMetrics
from mtlzoo.tasks import Task

if NAME != "pretended":
    pytest.skip("refusals of the pretended device: MTLZOO_TEST_DEVICE=pretended", allow_module_level=True)

from refused import LIMIT, deterministic


def train(module: Any, data: Any, folder: Path, *callbacks: Any, asked: Any = True) -> None:
    """Two steps and a validation, which asks for no other operations than a test."""
    options: Any = {"max_steps": 2, "limit_val_batches": 2, "deterministic": asked, "callbacks": list(callbacks)}
    with deterministic(warn_only=asked == "warn"):
        trainer(folder, **options).fit(module, data)


@pytest.mark.parametrize("model", [name for name in MODELS if name != "PMTRec"])
def test_models(model: str, tmp_path: Path) -> None:
    train(build(toy, model, sparse=model in ("MMoE", "PLE")), toy.InMemory(16, 72), tmp_path, EmbeddingMonitor())


def test_one_that_only_warns_has_nothing_to_warn_of(tmp_path: Path) -> None:
    train(build(toy), toy.InMemory(16, 72), tmp_path, GradientSurgery(rules.CAGrad()), asked="warn")


@pytest.mark.parametrize("encoder", ["mf", "lightgcn", "ngcf"])
def test_ranking(encoder: Any, tmp_path: Path) -> None:
    kinds = ("recommend", "friends", "category", "rating", "alignment")
    data = Friends(tmp_path, prepared=tmp_path, batch_size=64, negatives=3, kinds=kinds)
    train(PMTRec(data.schema, embedding_dim=4, encoder=encoder), data, tmp_path, GradientSurgery(rules.MGDA(), "row"))


@pytest.mark.parametrize("at", ["model", "parameter", "row", "representation"])
def test_surgery(at: Any, tmp_path: Path) -> None:
    where: Any = {"at": at} if at == "representation" else {"level": at}
    surgery = GradientSurgery(rules.GradVac(), **where)
    train(build(toy, "MMoE", sparse=True), toy.InMemory(16, 72), tmp_path, surgery, GateMonitor())


@pytest.mark.parametrize("tasks", [3, 17])
@pytest.mark.parametrize("make", builders())
def test_rules_on_gramians(make: Callable[[int], GramianRule], tasks: int) -> None:
    rule = make(tasks)
    rule.allocate(5, tasks)
    rule.to(DEVICE)
    if getattr(rule, "order", "") == "mean" and tasks > 9:
        pytest.skip("refuses so many tasks")
    rows = torch.randn(5, tasks, 8, dtype=torch.float64).to(DEVICE)
    given = {"losses": torch.rand(tasks).double().to(DEVICE)} if rule.needs_losses else {}
    with deterministic():
        rule(rows @ rows.mT, groups=torch.arange(5).to(DEVICE), **given)


@pytest.mark.parametrize("name", rules.__all__)
def test_other_rules(name: str, tmp_path: Path) -> None:
    kind: Any = getattr(rules, name)
    if not isinstance(kind, type) or not issubclass(kind, GradientRule | LossRule) or kind in (GradientRule, LossRule):
        pytest.skip("on Gramians, or none")
    rule: Any = kind([1.0, 2.0, 3.0]) if kind is rules.FixedWeights else kind()
    callback = LossBalancing(rule) if isinstance(rule, LossRule) else GradientSurgery(rule)
    train(build(toy), toy.InMemory(16, 72), tmp_path, callback)


@pytest.mark.parametrize("kind", ["binary", "regression", "multiclass", "multilabel"])
def test_metrics(kind: Any) -> None:
    task = Task("t", kind, classes=3) if kind.startswith("multi") else Task("t", kind)
    metrics = TaskMetrics(task, grouped=kind == "binary").to(DEVICE)
    logits, labels = torch.randn(40, task.outputs), torch.randint(0, 2, (40, task.label_width)).float()
    with deterministic():
        for _ in range(2):
            group = torch.randint(0, 5, (40,)).to(DEVICE)
            metrics.update(logits.to(DEVICE), labels.to(DEVICE), None, group)
        assert metrics.compute()


def test_it_refuses() -> None:
    there = torch.rand(4).to(DEVICE)
    with deterministic():
        there.long().cumsum(0)
        with pytest.raises(RuntimeError, match="cumsum does not have a deterministic"):
            there.cumsum(0)
        with pytest.raises(RuntimeError, match="cusolver"):
            torch.linalg.eigh(torch.zeros(LIMIT + 1, 1, 1).to(DEVICE))
    there.cumsum(0)
