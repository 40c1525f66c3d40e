"""Trains and tests PMTRec on generated friends in as many processes as the environment says; see test_pmtrec.py."""

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "datamodules"))

import lightning as L
import torch

from fixtures.friends import Friends
from mtlzoo import PMTRec
from mtlzoo.callbacks import GradientSurgery, PMTRecRule


def main(out: Path, options: dict[str, Any]) -> None:
    """One process of a training."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    L.seed_everything(1, verbose=False)
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    kinds = tuple(options.get("kinds", ("recommend", "friends", "category", "rating", "alignment")))
    data = Friends(out, prepared=out, batch_size=options["batch_size"], negatives=2, kinds=kinds)
    model = PMTRec(data.schema, embedding_dim=4, lr=0.01, **options["arguments"])
    surgery = [GradientSurgery(PMTRecRule("recommend", tau=1e-2), level="row")] if options.get("rule") else []
    trainer = L.Trainer(
        accelerator="cpu",
        devices=world_size,
        strategy="ddp" if world_size > 1 else "auto",
        max_epochs=3,
        precision="64-true",
        log_every_n_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(surgery),
    )
    trainer.fit(model, data)
    metrics = dict(trainer.callback_metrics)
    trainer.test(model, data, verbose=False)
    metrics |= trainer.callback_metrics
    torch.save({"weights": model.state_dict(), "metrics": metrics}, out / f"rank{trainer.global_rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
