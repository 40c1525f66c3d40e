"""Trains many cases of gradient surgery in as many processes as the environment says; weights go to a folder.

``python surgery_script.py OUT '[{"rule": "PCGrad", ...}, ...]'``, once per rank, with RANK, WORLD_SIZE, MASTER_ADDR,
MASTER_PORT. Models are the zoo's, or those of recommenders.py, foreign.py and spectral.py. The zoo's data are those of
tests/zoo/train_script.py: a task that a few neighbouring rows observe, so that some ranks see it and others don't.
"""

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import foreign
import lightning as L
import recommenders
import spectral
import torch
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).parents[1] / "zoo"))

from train_script import SCHEMA, InMemory

import mtlzoo
from mtlzoo.callbacks import GradientSurgery, rules

ENVIRONMENT = dict(os.environ)
OPTIONS = ("at", "every_n_steps", "others", "tables")


def train(case: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Weights at the end."""
    os.environ.update(ENVIRONMENT)  # a Trainer that is done takes WORLD_SIZE out
    L.seed_everything(1, verbose=False)
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    arguments = case.get("arguments", {})
    model: L.LightningModule
    data: Any
    if hasattr(mtlzoo, case["model"]):
        model = getattr(mtlzoo, case["model"])(SCHEMA, embedding_dim=4, **arguments)
        data = InMemory(case["batch_size"] // world_size)
    else:
        homes: tuple[Any, ...] = (foreign, spectral, recommenders)
        home = next(home for home in homes if hasattr(home, case["model"]))
        model = getattr(home, case["model"])(**arguments)
        draw = recommenders.batch if home is recommenders else foreign.batch
        batches: Any = three_batches(draw, case["batch_size"], world_size)
        data = DataLoader(batches, batch_size=None)
    rule = getattr(rules, case["rule"])(**case.get("options", {}))
    trainer = L.Trainer(
        accelerator="cpu",
        devices=world_size,
        strategy="ddp" if world_size > 1 else "auto",
        max_steps=case["steps"],
        max_epochs=-1,
        precision=case.get("precision", "64-true"),
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[GradientSurgery(rule, case["level"], **{name: case[name] for name in OPTIONS if name in case})],
    )
    trainer.fit(model, data)
    assert (trainer.global_step, trainer.world_size) == (case["steps"], world_size)
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def three_batches(batch: Any, rows: int, world_size: int) -> list[dict[str, torch.Tensor]]:
    """This rank's part of the batches of an epoch."""
    rank = int(os.environ.get("RANK", "0"))
    whole = [batch(rows, seed) for seed in range(3)]
    return [{name: column.chunk(world_size)[rank] for name, column in one.items()} for one in whole]


def main(out: Path, cases: list[dict[str, Any]]) -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    weights = [train(case) for case in cases]
    torch.save(weights, out / f"rank{os.environ.get('RANK', '0')}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
