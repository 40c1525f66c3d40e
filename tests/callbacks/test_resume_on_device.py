"""What a checkpoint holds is read on the CPU: what goes on with it must lie where the module does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import DEVICE
from fitting import fit_on
from foreign import Foreign, batch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning_utilities import apply_to_collection
from torch import Tensor, nn

from mtlzoo.callbacks import (
    ConflictMonitor,
    GateMonitor,
    GradientRule,
    GradientSurgery,
    GramianRule,
    LossBalancing,
    LossRule,
    rules,
)

NEEDS: dict[str, dict[str, Any]] = {name: {"weights": [0.5, 1.0, 2.0]} for name in ("Fixed", "FixedWeights")}
RULES = [
    name
    for name in rules.__all__
    if isinstance(kind := getattr(rules, name), type)
    and issubclass(kind, GramianRule | GradientRule | LossRule)
    and kind not in (GramianRule, GradientRule, LossRule)
]


class ReadsToCPU(TorchCheckpointIO):
    """As Lightning reads the tensors of a GPU; those of a device that is pretended come back there."""

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        return apply_to_collection(super().load_checkpoint(*args, **kwargs), Tensor, lambda tensor: tensor.cpu())


class Gated(Foreign):
    """With a gate, and what FAMO asks for."""

    def build(self) -> None:
        super().build()
        self.gate = nn.Softmax(-1)

    def outputs(self, batch: dict[str, Tensor]) -> list[Tensor]:
        h = self.trunk(batch["x"])
        h = h * self.gate(h)
        return [head(h).squeeze(1) for head in self.heads]

    def task_losses(self, batch: dict[str, Tensor]) -> Tensor:
        return self.losses(batch)


class Looks(L.Callback):
    """Saves after the third step, and looks where the state of callbacks lies from the start of the training on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.astray: set[str] = set()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.look(trainer)

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.look(trainer)
        if trainer.global_step == 3:
            trainer.save_checkpoint(self.path)

    def look(self, trainer: L.Trainer) -> None:
        every: Any = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
        for callback in every:
            state = callback.state_dict()
            if trainer.global_step == 3:  # surgery brings it back with the first losses
                state.pop("vectors", None)
            self.astray |= {f"{type(callback).__name__} {place}" for place in _astray(state)}


def _astray(state: Any, place: str = "") -> Iterator[str]:
    if isinstance(state, Tensor) and state.device.type != DEVICE.type:
        yield place
    for key, part in state.items() if isinstance(state, dict) else enumerate(state if isinstance(state, list) else ()):
        yield from _astray(part, f"{place}/{key}")


def astray(name: str, path: Path, **options: Any) -> set[str]:
    """What of a state was elsewhere in five steps, in which weights are used four times."""
    rule = getattr(rules, name)(**NEEDS.get(name, {}))
    monitors = [ConflictMonitor(), GateMonitor(modules=["gate"])]
    if isinstance(rule, LossRule):
        callbacks: list[L.Callback] = [LossBalancing(rule)]
    elif isinstance(rule, GradientRule):
        callbacks = [GradientSurgery(rule)]
    else:
        callbacks = [GradientSurgery(rule, every_n_steps=4), *(monitors if name == "Sum" else [])]
    torch.manual_seed(0)
    looks = Looks(path)
    where: Any = {"default_root_dir": path.parent, "plugins": [ReadsToCPU()]}
    fit_on([batch()] * 5, Gated(), *callbacks, looks, **where, **options)
    return looks.astray


@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable")  # here nobody minds
@pytest.mark.parametrize("name", RULES)
def test_what_goes_on_lies_where_the_module_does(name: str, tmp_path: Path) -> None:
    for saved in (None, str(tmp_path / "saved.ckpt")):
        assert not astray(name, tmp_path / "saved.ckpt", ckpt_path=saved)
