"""Loss rules, and modules of ours and of others, for the tests of `LossBalancing`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR, DEVICE
from foreign import Batch, Foreign
from torch import Tensor
from torch.utils.data import DataLoader

from mtlzoo import MMoE
from mtlzoo.callbacks import LossRule, rules
from mtlzoo.schema import Categorical, FeatureSchema, Numeric
from mtlzoo.tasks import Task

OPTIONS: dict[str, dict[str, Any]] = {
    "FixedWeights": {"weights": [1.0, -2.0, 0.5]},
    "STCH": {"warmup_epochs": 1},
    "UW": {"lr": 0.1},
    "IMTLL": {"lr": 0.1},
}


LOSS_RULES: dict[str, Callable[[], LossRule]] = {
    name: partial(rule, **OPTIONS.get(name, {}))
    for name in rules.__all__
    if isinstance(rule := getattr(rules, name), type) and issubclass(rule, LossRule) and rule is not LossRule
}


each_rule = pytest.mark.parametrize("build", LOSS_RULES.values(), ids=LOSS_RULES)


REMEMBERING = {name: build for name, build in LOSS_RULES.items() if build().state_dict()}


SCHEMA = FeatureSchema(
    (Categorical("user", 20), Numeric("age")), (Task("click"), Task("like", weight=2.0), Task("stars", "regression"))
)


def zoo_columns(rows: int, seed: int = 0) -> Batch:
    """Rows for `SCHEMA`; the second task is observed in the first half only."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.rand(rows, 3, generator=g, dtype=torch.float64)
    labels[:, :2] = labels[:, :2].round()
    labels[rows // 2 :, 1] = torch.nan
    user = torch.randint(0, 20, (rows, 1), generator=g).int()
    return {"categorical": user, "numeric": torch.randn(rows, 1, generator=g).double(), "labels": labels}


def zoo_model(**options: Any) -> MMoE:
    torch.manual_seed(0)
    return MMoE(SCHEMA, embedding_dim=3, lr=0.02, experts=2, expert_units=[4], tower_units=[4], **options)


def task_losses(self: Any, batch: Batch) -> Tensor:
    losses: Tensor = self.losses(batch)
    return losses


def made(kind: type[Foreign]) -> Foreign:
    """A module with what FAMO needs."""
    torch.manual_seed(0)
    module: Foreign = type(kind.__name__, (kind,), {"task_losses": task_losses})()
    return module


def fit(module: L.LightningModule, batches: Any, *callbacks: L.Callback, **options: Any) -> L.Trainer:
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    defaults: dict[str, Any] = {"max_epochs": 1, "accelerator": ACCELERATOR, "devices": 1, **quiet}
    if not {"plugins", "strategy"} & set(options):
        defaults["precision"] = "64-true"
    trainer = L.Trainer(**(defaults | options), callbacks=list(callbacks))
    trainer.fit(module, DataLoader(batches, batch_size=None) if isinstance(batches, list) else batches)  # type: ignore[arg-type]
    module.to(DEVICE)  # Lightning leaves it on the CPU
    return trainer


def expected(module: Any, rule: LossRule, batches: list[Batch], epochs: int) -> dict[str, Tensor]:
    """Weights after plain training on the weighted sum."""
    module.double()
    rule.allocate(3)
    found = module.configure_optimizers()
    optimizers = found if isinstance(found, tuple) else (found,)
    for _ in range(epochs):
        for one in batches:
            for optimizer in optimizers:
                optimizer.zero_grad()
            losses = module.task_losses(one)
            (rule(losses.detach()) * losses).sum().backward()
            for optimizer in optimizers:
                optimizer.step()
            if rule.needs_losses_after_step:
                rule.update(module.task_losses(one).detach())
        rule.end_epoch()
    weights: dict[str, Tensor] = module.state_dict()
    return weights


def assert_same(got: dict[str, Tensor], wanted: dict[str, Tensor], tolerance: float = 1e-11) -> None:
    assert set(got) == set(wanted)
    for name, weight in wanted.items():
        torch.testing.assert_close(
            got[name], weight, rtol=tolerance, atol=tolerance, equal_nan=True, msg=partial("{}: {}".format, name)
        )
