"""`mtlzoo.load`: any checkpoint of ours, by its path alone."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import lightning as L
import pytest
import torch

import mtlzoo
from mtlzoo import (
    AITM,
    PLE,
    AdaTT,
    CrossStitch,
    MMoE,
    MultiTaskModule,
    OMoE,
    SharedBottom,
    SingleTask,
    SoftSharing,
    STEMNet,
)
from mtlzoo.layers import MLP
from mtlzoo.schema import Batch


class Custom(MultiTaskModule):
    """A model of somebody else's."""

    def __init__(self, schema: mtlzoo.module.Schema, *, width: int = 4) -> None:
        super().__init__(schema, lr=0.25)
        self.network = MLP(1, [width], len(self.schema.tasks))

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        logits = self.network(batch["numeric"].to(self.dtype)).unbind(1)
        return dict(zip((task.name for task in self.schema.tasks), logits, strict=True))


def save(toy: ModuleType, model: MultiTaskModule, path: Path) -> Path:
    trainer = L.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=2,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        precision="64-true",
    )
    trainer.fit(model, toy.InMemory(64))
    trainer.save_checkpoint(path, weights_only=False)
    return path


@pytest.mark.parametrize(
    "kind", [SingleTask, SharedBottom, OMoE, MMoE, PLE, STEMNet, AITM, AdaTT, CrossStitch, SoftSharing]
)
def test_a_model_made_in_python_comes_back(toy: ModuleType, tmp_path: Path, kind: Any) -> None:
    """Traps T2, T3, T5: the right class, all options, weights_only=True."""
    model = kind(toy.SCHEMA, embedding_dim=3, lr=0.05, clip_norm=7.0, dropout=0.25)
    loaded = mtlzoo.load(save(toy, model, tmp_path / "a.ckpt"))
    assert type(loaded) is kind
    assert not loaded.training
    assert (loaded.lr, loaded.clip_norm) == (0.05, 7.0)
    assert loaded.schema == model.schema
    batch = next(iter(toy.InMemory(64).test_dataloader()))
    for name, logits in loaded.double()(batch).items():
        torch.testing.assert_close(logits, model.double().eval()(batch)[name], rtol=1e-5, atol=1e-5)


def test_changes_replace_saved_options(toy: ModuleType, tmp_path: Path) -> None:
    path = save(toy, SharedBottom(toy.SCHEMA, embedding_dim=3), tmp_path / "a.ckpt")
    assert mtlzoo.load(path, lr=0.125).lr == 0.125
    assert mtlzoo.load(path).lr == 1e-3


def test_a_class_of_somebody_else(toy: ModuleType, tmp_path: Path) -> None:
    path = save(toy, Custom(toy.SCHEMA, width=6), tmp_path / "a.ckpt")
    loaded = mtlzoo.load(path)
    assert type(loaded) is Custom
    assert loaded.network.width == 3
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["mtlzoo"]["class"] = "Renamed"
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match=r"Renamed, which can't be imported.*[Ii]mport"):
        mtlzoo.load(path)
    checkpoint["mtlzoo"] = {"module": "collections", "class": "Counter"}
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match="not a MultiTaskModule"):
        mtlzoo.load(path)


def test_what_is_not_ours_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="not a checkpoint of an mtlzoo model"):
        mtlzoo.load(tmp_path / "a.ckpt")


def test_a_checkpoint_holds_nothing_but_plain_values(toy: ModuleType, tmp_path: Path) -> None:
    """A process that never imports mtlzoo can read it (trap T4)."""
    path = save(toy, MMoE(toy.SCHEMA, embedding_dim=3, experts=2), tmp_path / "a.ckpt")
    script = (
        "import sys, torch; c = torch.load(sys.argv[1], weights_only=True); assert 'mtlzoo' not in sys.modules;"
        "options = c['hyper_parameters'];"
        "print(c['mtlzoo']['class'], options['experts'], options['schema']['tasks'][0]['name'])"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "MMoE 2 click\n"
