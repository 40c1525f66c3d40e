"""Trains a module with callbacks for a few steps, in silence."""

from typing import Any

import lightning as L
import torch
from foreign import batch
from torch.utils.data import DataLoader

LEVELS = ("model", "parameter", "row")
NAMED = "{}: {}".format
QUIET: dict[str, Any] = dict.fromkeys(
    ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
)


def fit(module: L.LightningModule, *callbacks: L.Callback, steps: int = 1, rows: int = 12, **options: Any) -> L.Trainer:
    """Trains on `steps` batches of `foreign`."""
    dtype = torch.float64 if options.get("precision", "64-true") == "64-true" else torch.float32
    return fit_on([batch(rows, seed, dtype) for seed in range(steps)], module, *callbacks, **options)


def fit_on(batches: list[Any], module: L.LightningModule, *callbacks: L.Callback, **options: Any) -> L.Trainer:
    """Trains on these batches."""
    defaults: dict[str, Any] = {"precision": "64-true", "max_epochs": 1, "accelerator": "cpu", "devices": 1}
    trainer = L.Trainer(**(defaults | QUIET | options), callbacks=list(callbacks))
    data: Any = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    trainer.fit(module, data)
    return trainer
