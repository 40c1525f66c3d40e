"""Every model of the zoo, found by what `mtlzoo` exports, small enough to be trained in a test."""

from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import lightning as L
import torch
from chosen_device import ACCELERATOR
from torch import Tensor

import mtlzoo
from mtlzoo import MultiTaskModule

SMALL: dict[str, dict[str, Any]] = {
    "AITM": {"bottom_units": [8], "tower_units": [8]},
    "AdaTT": {"levels": 2, "shared_experts": 1, "expert_units": [8], "tower_units": [8]},
    "CrossStitch": {"bottom_units": [8, 8], "tower_units": [8]},
    "ESMM": {"funnel": ["click", "like"], "require_funnel": False, "tower_units": [8]},
    "SingleTask": {"units": [8]},
    "SharedBottom": {"bottom_units": [8], "tower_units": [4]},
    "OMoE": {"experts": 2, "expert_units": [8], "tower_units": [4]},
    "MMoE": {"experts": 2, "expert_units": [8], "tower_units": [4]},
    "PEPNet": {"prior": ["user", "item"], "domain": ["tags"], "tower_units": [8], "gate_units": 8},
    "PLE": {"levels": 2, "expert_units": [8], "tower_units": [4]},
    "SoftSharing": {"bottom_units": [8], "tower_units": [8]},
    "STEMNet": {"layers": 2, "shared_experts": 2, "expert_units": [8], "tower_units": [4]},
}
"""Options that keep the tests quick; a model that is not here is tested as it is by default."""


MODELS = sorted(
    name
    for name in mtlzoo.__all__
    if isinstance(kind := getattr(mtlzoo, name), type)
    and issubclass(kind, MultiTaskModule)
    and kind is not MultiTaskModule
)


def trainer(folder: Path, **options: Any) -> L.Trainer:
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    return L.Trainer(
        default_root_dir=folder,
        accelerator=ACCELERATOR,
        **{**quiet, "max_epochs": 2, "log_every_n_steps": 1, **options},
    )


def build(toy: ModuleType, model: str = "SharedBottom", **options: Any) -> MultiTaskModule:
    torch.manual_seed(0)
    module: MultiTaskModule = getattr(mtlzoo, model)(
        toy.SCHEMA, **{"embedding_dim": 4, "lr": 0.01, **SMALL.get(model, {}), **options}
    )
    return module


def fitted(
    toy: ModuleType, folder: Path, batch_size: int = 32, run: dict[str, Any] | None = None, **options: Any
) -> dict[str, Tensor]:
    module = build(toy, **options)
    trainer(folder, precision="64-true", **(run or {})).fit(module, toy.InMemory(batch_size))
    return module.state_dict()


def assert_same(got: dict[str, Tensor], expected: dict[str, Tensor], **tolerance: float) -> None:
    assert set(got) == set(expected)
    options: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-11, **tolerance}
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, **options, msg=partial("{}: {}".format, name))


class SinglePrecision(L.LightningDataModule):
    """The toy data in float32."""

    def __init__(self, data: Any) -> None:
        super().__init__()
        self.data = data

    def train_dataloader(self) -> Any:
        return single(self.data.train_dataloader())

    def val_dataloader(self) -> Any:
        return single(self.data.val_dataloader())


def single(loader: Any) -> Any:
    loader.columns = {k: v.float() if v.dtype == torch.float64 else v for k, v in loader.columns.items()}
    return loader
