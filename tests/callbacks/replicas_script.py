"""Trains with every rule in as many processes as the environment says, each of which rounds in its own way.

``python replicas_script.py OUT``, once per rank, with RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT. On every rank but the
first all that a rule sees is off by one part in ten million, as between GPUs of two models, or after sums in no fixed
order. Weights of every case go to OUT.
"""

import inspect
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import torch
from foreign import Foreign, Manual, SparseTables, batch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mtlzoo.callbacks import GradientRule, GradientSurgery, GramianRule, LossBalancing, LossRule, rules

ENVIRONMENT = dict(os.environ)
RANK, WORLD = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
BASES = (GramianRule, GradientRule, LossRule)


def rounded(values: Tensor) -> Tensor:
    """Off by one part in ten million, differently in every process."""
    noise = torch.rand(values.shape, generator=torch.Generator().manual_seed(RANK), dtype=torch.float64)
    return values * (1 + RANK * 1e-7 * noise.to(values))


def built(name: str) -> nn.Module:
    """A rule with what it can't do without, which sees what its process rounds to."""
    rule_class = getattr(rules, name)
    needs = "weights" in inspect.signature(rule_class).parameters and "STCH" not in name
    rule: nn.Module = rule_class([0.5, 1.0, 2.0]) if needs else rule_class()
    rule.register_forward_pre_hook(lambda _, given: (rounded(given[0]), *given[1:]))
    return rule


class Described(Foreign):
    """With what FAMO and surgery at the representation ask for; every process's losses round in its own way."""

    shared_modules = ("trunk",)

    def task_losses(self, batch: dict[str, Tensor]) -> Tensor:
        return rounded(self.losses(batch))


def cases() -> Iterator[tuple[str, type[Foreign], L.Callback]]:
    """Every rule as it is used most, and surgery in its other ways."""
    for name in rules.__all__:
        rule_class = getattr(rules, name)
        if rule_class in BASES or not isinstance(rule_class, type):
            continue
        rule: Any = built(name)
        yield name, Described, LossBalancing(rule) if isinstance(rule, LossRule) else GradientSurgery(rule)
    given: Any
    for name in ("GradVac", "NashMTL", "PCD"):
        given = built(name)
        yield f"{name} by row", SparseTables, GradientSurgery(given, "row")
    given = built("MGDA")
    yield "at the representation", Described, GradientSurgery(given, at="representation")
    given = built("MGDA")
    yield "used again", Described, GradientSurgery(given, every_n_steps=2)
    given = built("MGDA")
    yield "manual", Manual, GradientSurgery(given, "parameter")


def train(module: Foreign, callback: L.Callback) -> dict[str, Tensor]:
    os.environ.update(ENVIRONMENT)  # a Trainer that is done takes WORLD_SIZE out
    data: list[Any] = [{k: v.chunk(WORLD)[RANK] for k, v in batch(12, seed).items()} for seed in range(3)]
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = L.Trainer(
        accelerator="cpu",
        devices=WORLD,
        strategy="ddp",
        precision="64-true",
        max_epochs=2,
        use_distributed_sampler=False,
        callbacks=[callback],
        **dict.fromkeys(off, False),  # type: ignore[arg-type]
    )
    trainer.fit(module, DataLoader(data, batch_size=None))  # type: ignore[arg-type]
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def main(out: Path) -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    ends = {}
    for name, module_class, callback in cases():
        torch.manual_seed(0)
        ends[name] = train(module_class(), callback)
    torch.save(ends, out / f"rank{RANK}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
