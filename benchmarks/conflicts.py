"""How often tasks' gradients conflict on real data, by the level at which one looks.

    python benchmarks/conflicts.py --root DIR [--steps 300]

Trains MMoE (its defaults, batch 1024) on KuaiRand-Pure with the plain sum, once per level, and counts over all steps
the groups of a level in which two tasks' gradients have a negative inner product: one group is the whole shared part,
a tensor, or a row of an embedding table that the step touches.

Result: benchmarks/results/conflicts.json; benchmarks/pictures.py draws it.
"""

import argparse
from itertools import combinations
from typing import Any, Literal, get_args

import lightning as L
import torch
from report import show, write
from torch import Tensor

from mtlzoo import MMoE
from mtlzoo.callbacks import GradientSurgery, Sum
from mtlzoo.callbacks.conflicts.facts import ConflictMeans, facts_of_step
from mtlzoo.datamodules import KuaiRand

Level = Literal["model", "parameter", "row"]
TASKS = ("is_click", "long_view", "is_like", "is_follow", "is_comment")


class Counts(L.Callback):
    """Adds up what the Gramians of the steps say."""

    def __init__(self, surgery: GradientSurgery) -> None:
        self.surgery = surgery
        self.sums: Tensor | None = None

    def on_train_batch_end(self, *_: Any) -> None:
        """One step."""
        assert self.surgery.gramians is not None
        assert self.surgery.weights is not None
        facts = facts_of_step(self.surgery.gramians, self.surgery.weights)
        self.sums = facts if self.sums is None else self.sums + facts


def measure(level: Level, root: str, steps: int) -> list[dict[str, Any]]:
    """A row per pair of tasks."""
    L.seed_everything(0, verbose=False)
    data = KuaiRand(root, tasks=TASKS, batch_size=1024)
    surgery = GradientSurgery(Sum(), level=level)
    counts = Counts(surgery)
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=-1,
        logger=False,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[surgery, counts],
    )
    trainer.fit(MMoE(data.schema, sparse=True), data)
    assert counts.sums is not None
    means = ConflictMeans(counts.sums)
    return [
        {"level": level, "a": TASKS[a], "b": TASKS[b], "conflict": means.conflict[a][b], "cosine": means.cosine[a][b]}
        for a, b in combinations(range(len(TASKS)), 2)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--root", required=True, help="Folder of KuaiRand.")
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = [row for level in get_args(Level) for row in measure(level, options.root, options.steps)]
    show("Share of groups in conflict", table)
    write("conflicts", {"data": "KuaiRand-Pure", "model": "MMoE", "steps": options.steps}, table)


if __name__ == "__main__":
    main()
