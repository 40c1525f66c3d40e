"""What zoo models declare as shared is there, and surgery can take its Gramian at its outputs."""

import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR

import mtlzoo
from mtlzoo.callbacks import GradientSurgery, rules

sys.path.insert(0, str(Path(__file__).parents[2] / "zoo"))

from train_script import SCHEMA, InMemory

MODELS: dict[str, dict[str, Any]] = {
    "SingleTask": {},
    "ESMM": {"funnel": ["click", "like"], "require_funnel": False},
    "PEPNet": {"prior": ["user"], "domain": ["tags"]},
    "PLE": {"levels": 2, "embedding": "multi"},
    "STEMNet": {"layers": 2},
}
"""Options of those that need some, or are more with some."""
NAMES = [
    name
    for name in mtlzoo.__all__
    if isinstance(kind := getattr(mtlzoo, name), type)
    and issubclass(kind, mtlzoo.MultiTaskModule)
    and kind is not mtlzoo.MultiTaskModule
]


@pytest.mark.parametrize("name", NAMES)
def test_every_task_is_seen_at_what_a_model_declares(name: str) -> None:
    torch.manual_seed(0)
    module = getattr(mtlzoo, name)(SCHEMA, embedding_dim=4, **MODELS.get(name, {}))
    assert bool(module.shared_modules) == (name != "SingleTask")
    if not module.shared_modules:
        return
    surgery = GradientSurgery(rules.PCGrad(), at="representation")
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    quiet: dict[str, Any] = dict.fromkeys(off, False)
    trainer = L.Trainer(
        accelerator=ACCELERATOR, precision="64-true", max_steps=2, limit_val_batches=0, callbacks=[surgery], **quiet
    )
    trainer.fit(module, InMemory(32))
    assert surgery.gramians is not None
    assert (surgery.gramians[0].diagonal() > 0).all()
