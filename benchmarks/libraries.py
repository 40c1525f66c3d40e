"""Surgery on other people's libraries: is it what plain autograd makes of every task's gradient?

    python benchmarks/libraries.py [NAME ...]

`library_modules.py` and `library_forecasts.py` have the libraries; one that is not installed is left out. Each trains
for a few steps as it stands, and again with its losses handed over: to `GradientSurgery(Sum())`, which must end at the
same parameters, and to ``PCGrad(order="fixed")`` at each level, beside a callback that takes each task's dense gradient
by `torch.autograd.grad` and projects the vectors themselves. Differences are the largest of a parameter, divided by the
largest way that the training moved one; `PCGrad moves` is such a difference of PCGrad and the plain training. Libraries
that compute in float32 whatever they are told (chemprop, anomalib, scvi-tools) differ by its rounding: a parameter of
0.3 is rounded by 1e-8, and the ways are of 1e-3.

Result: benchmarks/results/libraries.json.
"""

import argparse
import logging
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, TypeAlias

import library_forecasts as forecasts
import library_modules as modules
import lightning as L
import torch
from report import show, write
from torch import Tensor, nn

from mtlzoo.callbacks import GradientSurgery, PCGrad, Sum
from mtlzoo.callbacks.surgery.groups import Level

Case: TypeAlias = Callable[[bool, modules.Callbacks], None]

MODULES = {
    "scvi-tools": "scvi",
    "pytorch-forecasting": "pytorch_forecasting",
    "pina-mathlab": "pina",
}
LEVELS: tuple[Level, ...] = ("model", "parameter", "row")
CASES: dict[str, tuple[str, str, Case]] = {
    "chemprop, MPNN": ("chemprop", "training_step: the mean by column", modules.chemprop),
    "transformers, BERT": ("transformers", "a loss per output, stacked", modules.transformers_bert),
    "transformers, T5": ("transformers", "losses by name beside their sum", modules.transformers_t5),
    "transformers, GPT-2, checkpointing": ("transformers", "its two losses, stacked", modules.transformers_gpt2),
    "anomalib, Ganomaly": ("anomalib", "parts kept, manual_backward gets them", modules.anomalib_ganomaly),
    "scvi-tools, TOTALVI": ("scvi-tools", "parts kept, manual_backward gets them", modules.scvi_totalvi),
    "pytorch-forecasting, LSTM": ("pytorch-forecasting", "MultiLoss keeps parts", forecasts.pytorch_forecasting_lstm),
    "neuralforecast, NHITS": ("neuralforecast", "MQLoss keeps parts", forecasts.neuralforecast_nhits),
    "PINA, a PINN": ("pina-mathlab", "the weighting keeps losses", forecasts.pina_pinn),
}


class Record(L.Callback):
    """Keeps the parameters from before and after the training."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Record":
        """Itself: neuralforecast trains a copy of the model that it is given, callbacks and all."""
        return self

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Before. Adam divides what rounding leaves of a gradient of 0 by its size: not here, in no training."""
        for group in (group for optimizer in trainer.optimizers for group in optimizer.param_groups):
            group["eps"] = max(group["eps"], 1e-3)
        self.start = [p.detach().double().clone() for p in pl_module.parameters()]

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """After."""
        self.end = [p.detach().double().clone() for p in pl_module.parameters()]

    def apart(self, other: "Record") -> float:
        """How far two trainings ended from each other, measured by how far this one went."""
        moved = max(float((a - b).abs().max()) for a, b in zip(self.start, self.end, strict=True))
        return max(float((a - b).abs().max()) for a, b in zip(self.end, other.end, strict=True)) / moved


class Dense(L.Callback):
    """PCGrad by dense gradients of all parameters for every task, projected one by one in ascending order."""

    def __init__(self, level: str) -> None:
        self.level = level

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Takes over what Lightning calls."""
        self.module, self.losses = pl_module, None
        self.tables = [m.weight for m in pl_module.modules() if isinstance(m, nn.Embedding)]
        step: Any = pl_module.training_step

        def training_step(*args: Any, **kwargs: Any) -> Any:
            output = step(*args, **kwargs)
            self.losses = output.get("losses", output["loss"]) if pl_module.automatic_optimization else None
            return {**output, "loss": _vector(self.losses).sum()} if self.losses is not None else output

        object.__setattr__(pl_module, "training_step", training_step)
        object.__setattr__(pl_module, "backward", self._backward)

    def _backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        losses = _vector(loss if self.losses is None else self.losses)
        if losses.dim() == 0:
            loss.backward(*args, **kwargs)
            return
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        found = [torch.autograd.grad(one, parameters, retain_graph=True, allow_unused=True) for one in losses]
        by_parameter = {p: [row[i] for row in found] for i, p in enumerate(parameters)}
        reached = {p: row for p, row in by_parameter.items() if any(g is not None for g in row)}
        zero = {p: torch.zeros_like(p) for p in reached}
        self._write({p: torch.stack([zero[p] if g is None else g for g in row]) for p, row in reached.items()})

    def _write(self, gradients: Mapping[Tensor, Tensor]) -> None:
        shared = {p: g for p, g in gradients.items() if sum(bool(one.any()) for one in g) > 1}
        made = {p: g.sum(0) for p, g in gradients.items() if p not in shared}
        if self.level == "model" and shared:
            whole = project(torch.cat([g.flatten(1) for g in shared.values()], 1))
            pieces = whole.split([p.numel() for p in shared])
            made |= {p: piece.view_as(p) for p, piece in zip(shared, pieces, strict=True)}
        elif self.level != "model":
            for p, g in shared.items():
                rows = self.level == "row" and any(p is table for table in self.tables)
                parts = g.unbind(1) if rows else [g.flatten(1)]
                made[p] = torch.stack([project(part) for part in parts]).view_as(p)
        for p, gradient in made.items():
            p.grad = gradient.to(p) if p.grad is None else p.grad + gradient


def _vector(losses: Any) -> Tensor:
    if isinstance(losses, Tensor):
        return losses
    return torch.stack([one.as_subclass(Tensor).reshape(()) for one in losses.values()])


def project(gradients: Tensor) -> Tensor:
    """PCGrad on the vectors themselves, [T, n]: each is freed of what is against the others, one after the other."""
    gradients = gradients.double()
    result = torch.zeros_like(gradients[0])
    for t, own in enumerate(gradients):
        rest = own.clone()
        for s, other in enumerate(gradients):
            if s != t and (inner := rest @ other) < 0:
                rest -= inner / (other @ other) * other
        result += rest
    return result


def trained(case: Case, *callbacks: L.Callback) -> Record:
    """Trains with a fixed seed; without callbacks, the library as it stands."""
    torch.manual_seed(0)
    L.seed_everything(0, verbose=False)
    record = Record()
    case(bool(callbacks), [*callbacks, record])
    return record


def compare(name: str, library: str, changed: str, case: Case) -> dict[str, Any]:
    """One row of the table."""
    plain = trained(case)
    row: dict[str, Any] = {"library": name, "version": version(library), "changed": changed}
    row["Sum"] = plain.apart(trained(case, GradientSurgery(Sum())))
    moves = {}
    for level in LEVELS:
        dense = trained(case, Dense(level))
        row[f"PCGrad {level}"] = dense.apart(trained(case, GradientSurgery(PCGrad(order="fixed"), level=level)))
        moves[level] = plain.apart(dense)
    return row | {"PCGrad moves": moves["model"]}


def main() -> None:
    """Compares what is installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these libraries")
    names = parser.parse_args().names
    warnings.simplefilter("ignore")  # what the libraries say about themselves
    for package in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        logging.getLogger(package).setLevel(logging.ERROR)
    asked = {name: case for name, case in CASES.items() if not names or case[0] in names}
    there = {name: case for name, case in asked.items() if find_spec(MODULES.get(case[0], case[0]))}
    for name in asked.keys() - there.keys():
        print(f"{name}: not installed")
    rows = [compare(name, *case) for name, case in there.items()]
    if rows:
        show("Largest difference of a parameter, by the largest way that training moved one", rows)
    if len(rows) == len(CASES):  # no result of some of them takes the place of one of all
        write("libraries", {"steps": modules.STEPS}, rows)


if __name__ == "__main__":
    main()
