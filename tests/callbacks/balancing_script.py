"""Trains with every loss rule, and with monitors, in as many processes as the environment says.

``python balancing_script.py OUT '{"UW": {"lr": 0.1}, ...}'``, once per rank, with RANK, WORLD_SIZE, MASTER_ADDR,
MASTER_PORT: rules and their options. Weights and logged numbers go to OUT.
"""

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).parents[1] / "zoo"))

from foreign import Foreign, batch
from recorder import Recorder
from train_script import SCHEMA, InMemory

from mtlzoo import MMoE
from mtlzoo.callbacks import ConflictMonitor, GradientSurgery, LossBalancing, StepCost, rules

# Lightning's launcher writes RANK and WORLD_SIZE itself when a training ends.
RANK, WORLD_SIZE = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


class Balanced(Foreign):
    """With what FAMO needs."""

    def task_losses(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.losses(batch)


def train(module: L.LightningModule, data: Any, *callbacks: L.Callback, **options: Any) -> dict[str, torch.Tensor]:
    quiet: dict[str, Any] = {"logger": False} | options
    trainer = L.Trainer(
        accelerator="cpu",
        devices=WORLD_SIZE,
        strategy="ddp" if WORLD_SIZE > 1 else "auto",
        max_epochs=2,
        limit_val_batches=0,
        precision="64-true",
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        callbacks=list(callbacks),
        **quiet,
    )
    trainer.fit(module, data)
    return {name: weight.detach().clone() for name, weight in module.state_dict().items()}


def zoo(**options: Any) -> MMoE:
    L.seed_everything(1, verbose=False)
    return MMoE(SCHEMA, embedding_dim=4, lr=0.01, experts=2, expert_units=[6], tower_units=[4], **options)


def foreign() -> tuple[Foreign, Any]:
    """A module and the rows of this process."""
    torch.manual_seed(0)
    whole = [batch(12, seed) for seed in range(4)]
    mine = [{name: column[RANK::WORLD_SIZE] for name, column in one.items()} for one in whole]
    return Balanced(), DataLoader(mine, batch_size=None)  # type: ignore[arg-type]


def main(out: Path, options: dict[str, dict[str, Any]]) -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for name, arguments in options.items():
        found[f"{name} zoo"] = train(
            zoo(sparse=name == "UW", accumulate=2 if name == "DWA" else 1),
            InMemory(24 // WORLD_SIZE),
            LossBalancing(getattr(rules, name)(**arguments)),
        )
        found[f"{name} foreign"] = train(*foreign(), LossBalancing(getattr(rules, name)(**arguments)))
    recorder = Recorder()
    monitors = [GradientSurgery(rules.Sum()), ConflictMonitor(2), StepCost(2)]
    train(*foreign(), *monitors, logger=recorder, default_root_dir=out / f"rank{RANK}")
    found["log"] = recorder.of("surgery/")
    found["cost"] = recorder.of("cost/")
    torch.save(found, out / f"rank{RANK}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
