"""What DDP sends with every forward is what a training changes, and every process validates and ends with the same."""

import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR
from every_model import MODELS

import mtlzoo
from mtlzoo import MultiTaskModule, PMTRec

OPTIONS: dict[str, dict[str, Any]] = {
    "ESMM": {"funnel": ["click", "like"], "require_funnel": False},
    "PEPNet": {"prior": ["user", "item"]},
}


def sent(toy: ModuleType, folder: Path, module: MultiTaskModule) -> set[str]:
    """Names of the buffers that DDP sends."""
    names: list[str] = []

    class Look(L.Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            wrapped: Any = trainer.strategy.model
            wrapped._assign_modules_buffers()  # as before every forward
            names.extend(wrapped.named_module_buffers)

    L.Trainer(
        default_root_dir=folder,
        accelerator=ACCELERATOR,
        strategy="ddp",
        devices=1,
        max_steps=1,
        precision="64-true",
        limit_val_batches=0,
        callbacks=[Look()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(module, toy.InMemory(50))
    return set(names)


@pytest.mark.parametrize("model", MODELS)
def test_constants_are_not_sent(toy: ModuleType, tmp_path: Path, model: str) -> None:
    kind = getattr(mtlzoo, model)
    normalises = "batch_norm" in inspect.signature(kind.__init__).parameters
    options = {**OPTIONS.get(model, {}), **({"batch_norm": True} if normalises else {})}
    module = kind(toy.SCHEMA, embedding_dim=4, **options)
    changing = {name for name, _ in module.named_buffers() if name.endswith(("_mean", "_var", "_tracked"))}
    assert bool(changing) == normalises
    assert sent(toy, tmp_path, module) == changing


def test_a_graph_is_not_sent(toy: ModuleType, tmp_path: Path) -> None:
    module: Any = PMTRec(toy.SCHEMA, embedding_dim=4, encoder="lightgcn")
    module.encoder.connect(torch.arange(2, 20), torch.arange(2, 20))
    assert sent(toy, tmp_path, module) == set()


def test_sparse_tables_are_left_out_beside_constants(toy: ModuleType, tmp_path: Path) -> None:
    module = mtlzoo.SharedBottom(toy.SCHEMA, embedding_dim=4, sparse=True, batch_norm=True)
    names = sent(toy, tmp_path, module)
    assert names
    assert all("running" in name or "tracked" in name for name in names)
    assert "embedding.table.weight" in module._ddp_params_and_buffers_to_ignore


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"surgery": "row"}, {"validate": False}], ids=str)
def test_two_ranks_have_the_same_statistics(tmp_path: Path, run: Any, options: dict[str, Any]) -> None:
    """Batch norm sees other rows on each."""
    arguments = {"bottom_units": [8], "tower_units": [4], "batch_norm": True}
    whole = {"model": "SharedBottom", "batch_size": 16, "epochs": 2, "arguments": arguments, **options}
    one, other = run(tmp_path / "two", 2, whole)
    assert len(one["buffers"]) == (2 if options.get("validate", True) else 0)
    for mine, theirs in zip([*one["buffers"], one["weights"]], [*other["buffers"], other["weights"]], strict=True):
        assert any("running_var" in name for name in mine)
        assert all(torch.equal(mine[name], value) for name, value in theirs.items())
