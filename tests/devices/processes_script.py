"""Counts what a step of one of several processes sends, and where its host waits, on the pretended device.

``python processes_script.py OUT``, once per rank, with RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, and
MTLZOO_TEST_DEVICE=pretended. What the third step of every case counts goes to OUT, and the weights that surgery has
made. There is no DDP, which knows no such device: dense gradients of other steps stay those of their process.
"""

import os
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
import train_script as toy
from every_model import build
from test_waits import joint, scaling, step
from torch import Tensor

from mtlzoo.callbacks import GradientSurgery, LossBalancing, rules
from mtlzoo.datamodules.loading import BatchLoader

RANK, WORLD = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
Counts = dict[str, int]


class Part(toy.InMemory):
    """This process's part of the batches, which come in odd numbers of rows."""

    def train_dataloader(self) -> BatchLoader:
        return BatchLoader(toy.columns(100, 0), self.batch_size, shuffle=True, rank=RANK, world_size=WORLD)


def trained(*callbacks: L.Callback, fp16: bool = False, **options: Any) -> tuple[Counts, dict[str, Tensor]]:
    """Counts of a step of a model with four tables, and its weights where processes end with the same."""
    module = build(toy, "STEMNet", **options)
    more: dict[str, Any] = {"plugins": [scaling()]} if fp16 else {}
    found = step(module, *callbacks, data=Part(7), **more)
    surgery = any(isinstance(one, GradientSurgery) for one in callbacks)
    return found, {name: p.detach().cpu() for name, p in module.named_parameters() if surgery}


def operated(rule: Any, how: dict[str, Any] | None = None, **options: Any) -> tuple[Counts, dict[str, Tensor]]:
    return trained(GradientSurgery(rule, **(how or {})), **options)


CASES: dict[str, Callable[[], tuple[Counts, dict[str, Tensor]]]] = {
    "sparse": partial(trained, sparse=True),
    "surgery": partial(operated, rules.PCGrad()),
    "surgery sparse": partial(operated, rules.PCGrad(), {"level": "row"}, sparse=True),
    "at the representation, sparse": partial(operated, rules.PCGrad(), {"at": "representation"}, sparse=True),
    "weights used again, sparse": partial(operated, rules.PCGrad(), {"every_n_steps": 3}, sparse=True),
    "surgery scaled": partial(operated, rules.GradDrop(), fp16=True),
    "balancing scaled": lambda: trained(LossBalancing(rules.DWA()), fp16=True),
    "surgery of a joint loss": lambda: (joint(tasks=3), {}),
}


def main(out: Path) -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=RANK, world_size=WORLD)
    torch.save({name: case() for name, case in CASES.items()}, out / f"rank{RANK}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
