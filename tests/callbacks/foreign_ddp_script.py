"""Trains other people's modules with surgery in as many processes as the environment says, and saves how they end."""

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from foreign import Batch, Foreign, Manual, batch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from two_networks import Critic, Two

from mtlzoo.callbacks import GradientSurgery, rules

ENVIRONMENT = dict(os.environ)
RANK, WORLD = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


class Buffers(Foreign):
    """Batch statistics, and a codebook that every step moves by the rows of its own process."""

    code: Tensor

    def build(self) -> None:
        super().build()
        self.norm = nn.BatchNorm1d(5)
        self.register_buffer("code", torch.zeros(5))
        self.starts: list[Tensor] = []

    def outputs(self, batch: Batch) -> list[Tensor]:
        x = batch["x"]
        if self.training:
            self.starts.append(torch.cat([self.code, self.norm.running_mean]).clone())  # type: ignore[list-item]  # it tracks
            self.code.lerp_(x.mean(0), 0.5)
        h = self.trunk(self.norm(x) - self.code)
        return [head(h).squeeze(1) for head in self.heads]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.log("val", super().losses(batch).sum(), sync_dist=True)
        self.starts.append(torch.cat([self.code, self.norm.running_mean]).clone())  # type: ignore[list-item]  # it tracks


class BuffersManual(Buffers, Manual):
    """The same in manual optimisation."""


def random_weights(gramian: Tensor) -> Tensor:
    """A rule that draws from torch's generator, which no two processes share."""
    return torch.rand(len(gramian))


CASES: dict[str, tuple[type[Foreign], Callable[[], list[L.Callback]]]] = {
    "buffers": (Buffers, lambda: [GradientSurgery(rules.PCGrad())]),
    "buffers in manual optimisation": (BuffersManual, lambda: [GradientSurgery(rules.PCGrad())]),
    "a loss alone": (Critic, lambda: [GradientSurgery(rules.PCGrad(order="fixed"))]),
    "two vectors": (Two, lambda: [GradientSurgery(rules.GradVac(order="fixed"), "parameter")]),
    "random weights": (Foreign, lambda: [GradientSurgery(random_weights)]),
    "random gradients": (Foreign, lambda: [GradientSurgery(RandomSign())]),
}


class RandomSign(rules.GradientRule):
    """A rule of gradients that draws from torch's generator."""

    def solve(self, gradients: Tensor, *, losses: Tensor | None) -> Tensor:
        return gradients.sum(0) * torch.rand(gradients.shape[1:]).to(gradients)


def train(name: str) -> dict[str, Tensor]:
    """Weights, buffers, and buffers at the beginning of every step."""
    os.environ.update(ENVIRONMENT)  # a Trainer that is done takes WORLD_SIZE out
    module_class, callbacks = CASES[name]
    torch.manual_seed(0)
    module = module_class()
    torch.manual_seed(RANK)
    data = [{k: v.chunk(WORLD)[RANK] for k, v in batch(12, seed).items()} for seed in range(4)]
    loader: Any = DataLoader(data, batch_size=None)  # type: ignore[arg-type]
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = L.Trainer(
        accelerator="cpu",
        devices=WORLD,
        strategy="ddp" if WORLD > 1 else "auto",
        precision="64-true",
        max_epochs=2,
        use_distributed_sampler=False,
        callbacks=callbacks(),
        **dict.fromkeys(off, False),  # type: ignore[arg-type]
    )
    trainer.fit(module, loader, loader if isinstance(module, Buffers) else None)
    starts = torch.stack(module.starts) if isinstance(module, Buffers) else torch.zeros(0)
    return {**module.state_dict(), "starts": starts}


def main(out: Path) -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    ends = {name: train(name) for name in CASES}
    torch.save(ends, out / f"rank{RANK}.pt")
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
