"""Loggers and callbacks that keep what they are given."""

from typing import Any

import lightning as L
from lightning.pytorch.loggers import Logger
from torch import Tensor


class Recorder(Logger):
    """Numbers by step."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, dict[str, float]]] = []

    @property
    def name(self) -> str:
        return "recorder"

    @property
    def version(self) -> str:
        return "0"

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        pass

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert step is not None
        self.rows.append((step, dict(metrics)))

    def of(self, prefix: str) -> list[tuple[int, dict[str, float]]]:
        """Rows with names that begin so, without others."""
        kept = [(step, {k: v for k, v in row.items() if k.startswith(prefix)}) for step, row in self.rows]
        return [(step, row) for step, row in kept if row]


class Gallery(Recorder):
    """Pictures and tables too, as W&B's logger takes them."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[tuple[str, int | None, list[Any]]] = []
        self.tables: list[tuple[str, list[str], list[list[Any]]]] = []

    def log_image(self, key: str, images: list[Any], step: int | None = None) -> None:
        self.images.append((key, step, images))

    def log_table(self, key: str, columns: list[str], data: list[list[Any]], step: int | None = None) -> None:
        self.tables.append((key, columns, data))


class Keep(L.Callback):
    """The first batch, and the gradients that the optimiser is given for it."""

    def __init__(self) -> None:
        self.batch: dict[str, Tensor] = {}
        self.gradients: dict[str, Tensor] = {}

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.batch = batch

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        found = ((name, p.grad) for name, p in pl_module.named_parameters())
        self.gradients = {name: grad.to_dense().clone() for name, grad in found if grad is not None}
