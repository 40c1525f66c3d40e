"""Trains modules with callbacks for a few steps, in silence, and compares how they end."""

from functools import partial
from typing import Any

import lightning as L
import torch
from chosen_device import ACCELERATOR, DEVICE
from foreign import Foreign, batch
from torch import nn
from torch.utils.data import DataLoader

from mtlzoo.callbacks import GradientSurgery

LEVELS = ("model", "parameter", "row")
NAMED = "{}: {}".format
QUIET: dict[str, Any] = dict.fromkeys(
    ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
)


def fit(module: L.LightningModule, *callbacks: L.Callback, steps: int = 1, rows: int = 12, **options: Any) -> L.Trainer:
    """Trains on `steps` batches of `foreign`."""
    dtype = torch.float64 if options.get("precision", "64-true") == "64-true" else torch.float32
    return fit_on([batch(rows, seed, dtype) for seed in range(steps)], module, *callbacks, **options)


def fit_on(
    batches: list[Any], module: L.LightningModule, *callbacks: L.Callback, ckpt_path: str | None = None, **options: Any
) -> L.Trainer:
    """Trains on these batches."""
    defaults: dict[str, Any] = {"precision": "64-true", "max_epochs": 1, "accelerator": ACCELERATOR, "devices": 1}
    trainer = L.Trainer(**(defaults | QUIET | options), callbacks=list(callbacks))
    data: Any = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    trainer.fit(module, data, ckpt_path=ckpt_path)
    module.to(DEVICE)  # Lightning leaves it on the CPU
    return trainer


def assert_same(one: nn.Module, other: nn.Module, tolerance: float = 1e-12) -> None:
    """Compares all weights."""
    wanted, got = one.state_dict(), other.state_dict()
    for name, weight in wanted.items():
        torch.testing.assert_close(got[name], weight, rtol=tolerance, atol=tolerance, msg=partial(NAMED, name))


def trained(module_class: type[Any], *callbacks: L.Callback, **options: Any) -> Any:
    """A module of the class after some steps."""
    torch.manual_seed(0)
    module = module_class()
    fit(module, *callbacks, **{"steps": 4, **options})
    return module


def assert_as_twin(module: Foreign, twin: Foreign, rule: Any, level: Any, steps: int = 2) -> None:
    """Trains both with surgery, and compares every gradient that their optimisers get."""
    twin.load_state_dict(module.state_dict())
    for one in (twin, module):
        fit(one, GradientSurgery(rule(), level=level), steps=steps)
    assert [set(gradients) for gradients in module.seen] == [set(gradients) for gradients in twin.seen]
    for got, wanted in zip(module.seen, twin.seen, strict=True):
        for name, gradient in wanted.items():
            torch.testing.assert_close(got[name], gradient, rtol=1e-9, atol=1e-12, msg=partial(NAMED, name))
