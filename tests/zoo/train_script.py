"""Trains, tests and predicts in as many processes as the environment says; what the ranks saw goes to a folder.

``python train_script.py OUT '{"model": "MMoE", ...}'``, once per rank, with RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT.
"""

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

import mtlzoo
from mtlzoo.callbacks import EmbeddingMonitor, GateMonitor, GradientSurgery, PCGrad
from mtlzoo.datamodules.loading import BatchLoader
from mtlzoo.schema import Categorical, FeatureSchema, Numeric, Sequence
from mtlzoo.tasks import Task

SCHEMA = FeatureSchema(
    (Categorical("user", 50), Categorical("item", 30), Sequence("tags", 9, 3), Numeric("age")),
    (Task("click"), Task("like", weight=2.0), Task("stars", "regression", center=3.0, scale=2.0)),
    user="user",
    item="item",
    group="user_id",
)


def columns(rows: int, seed: int) -> dict[str, Tensor]:
    """Random rows; the second task is observed in a few neighbouring rows only, the third in a third of all."""
    g = torch.Generator().manual_seed(seed)
    user = torch.randint(2, 50, (rows, 1), generator=g)
    item = torch.randint(1, 30, (rows, 1), generator=g)
    click = ((user * item) % 3 == 0).double()
    like = ((user + item) % 4 == 0).double()
    like[torch.arange(rows) % 50 > 3] = torch.nan
    stars = (item % 5).double()
    stars[torch.rand(rows, generator=g) < 2 / 3] = torch.nan
    return {
        "categorical": torch.cat([user, item], 1).int(),
        "tags": torch.randint(0, 9, (rows, 3), generator=g).sort(descending=True).values.int(),
        "numeric": torch.randn(rows, 1, generator=g).double(),
        "labels": torch.cat([click, like, stars], 1),
        "weight": torch.rand(rows, generator=g).double() + 0.5,
        "group": user.squeeze(1),
    }


class InMemory(L.LightningDataModule):
    """Loaders over random tensors."""

    def __init__(self, batch_size: int, rows: int = 203, held_out: int | None = None) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.rows = rows
        self.held_out = rows if held_out is None else held_out

    def loader(self, seed: int, shuffle: bool) -> BatchLoader:
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        rows = self.rows if shuffle else self.held_out
        return BatchLoader(columns(rows, seed), self.batch_size, shuffle=shuffle, rank=rank, world_size=world)

    def train_dataloader(self) -> BatchLoader:
        return self.loader(0, shuffle=True)

    def val_dataloader(self) -> BatchLoader:
        return self.loader(1, shuffle=False)

    def test_dataloader(self) -> BatchLoader:
        return self.loader(2, shuffle=False)

    def predict_dataloader(self) -> BatchLoader:
        return self.loader(2, shuffle=False)


class Buffers(L.Callback):
    """Keeps the module's buffers as every validation sees them."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Tensor]] = []

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.seen.append({name: buffer.clone() for name, buffer in pl_module.named_buffers()})


def made(options: dict[str, Any], world_size: int, max_steps: int = -1) -> tuple[Any, L.Trainer]:
    """A fresh model and its trainer."""
    model = getattr(mtlzoo, options["model"])(SCHEMA, embedding_dim=4, lr=0.01, **options.get("arguments", {}))
    level = options.get("surgery")
    monitors = [GateMonitor(3), EmbeddingMonitor()] if options.get("monitors") else []
    trainer = L.Trainer(
        accelerator="cpu",
        devices=world_size,
        strategy="ddp" if world_size > 1 else "auto",
        max_epochs=options.get("epochs", 3),
        max_steps=max_steps,
        precision="64-true",
        log_every_n_steps=options.get("log_every_n_steps", 1),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=None if options.get("validate", True) else 0,
        default_root_dir=options["folder"],
        callbacks=[Buffers(), *monitors, *([GradientSurgery(PCGrad(), level=level)] if level else [])],
    )
    return model, trainer


def main(out: Path, options: dict[str, Any]) -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    L.seed_everything(1, verbose=False)
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    options["folder"] = str(out)
    data = InMemory(options["batch_size"], options.get("rows", 203), options.get("held_out"))
    path = None
    if "stop" in options:
        model, trainer = made(options, world_size, max_steps=options["stop"])
        trainer.fit(model, data)
        trainer.save_checkpoint(path := out / "stopped.ckpt")
    model, trainer = made(options, world_size)
    trainer.fit(model, data, ckpt_path=path)
    seen = {"train": dict(trainer.callback_metrics)}
    trainer.test(model, data, verbose=False)
    seen["test"] = dict(trainer.callback_metrics)
    predictions = trainer.predict(model, data)
    found = {"weights": model.state_dict(), "metrics": seen, "predictions": predictions, "steps": trainer.global_step}
    buffers = next(callback.seen for callback in trainer.callbacks if isinstance(callback, Buffers))  # type: ignore[attr-defined]
    torch.save({**found, "buffers": buffers}, out / f"rank{trainer.global_rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
