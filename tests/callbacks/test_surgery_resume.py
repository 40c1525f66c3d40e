"""A training with surgery that stops and resumes ends with the same bits, for every rule."""

import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from mtlzoo import MMoE
from mtlzoo.callbacks import GradientSurgery, rules

sys.path.insert(0, str(Path(__file__).parents[1] / "zoo"))

from train_script import SCHEMA, InMemory

OPTIONS: dict[str, dict[str, Any]] = {"Fixed": {"weights": [0.5, 1.0, 2.0]}}
RULES = sorted(
    name
    for name, rule in vars(rules).items()
    if isinstance(rule, type)
    and issubclass(rule, rules.GramianRule | rules.GradientRule)
    and rule not in (rules.GramianRule, rules.GradientRule)
)


class Singles(InMemory):
    """In float32."""

    def on_before_batch_transfer(self, batch: dict[str, torch.Tensor], dataloader_idx: int) -> Any:
        return {name: values.float() if values.is_floating_point() else values for name, values in batch.items()}


class Save(L.Callback):
    """Saves after some steps, in the middle of the second epoch."""

    def __init__(self, path: Path, step: int) -> None:
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def train(rule: str, level: Any, *callbacks: L.Callback, resume: Path | None = None) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    model = MMoE(SCHEMA, embedding_dim=4, experts=2, expert_units=[6], tower_units=[4], sparse=level == "row")
    surgery = GradientSurgery(getattr(rules, rule)(**OPTIONS.get(rule, {})), level=level)
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=14,
        max_epochs=-1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[surgery, *callbacks],
    )
    trainer.fit(model, Singles(24), ckpt_path=resume, weights_only=True)
    state = {f"rule.{name}": value for name, value in surgery.state_dict()["rule"].items() if torch.is_tensor(value)}
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()} | state


@pytest.mark.parametrize("level", ["model", "row"])
@pytest.mark.parametrize("rule", RULES)
def test_resumed_training_ends_with_the_same_bits(tmp_path: Path, rule: str, level: str) -> None:
    path = tmp_path / "middle.ckpt"
    whole = train(rule, level, Save(path, 11))
    resumed = train(rule, level, resume=path)
    assert set(resumed) == set(whole)
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name
