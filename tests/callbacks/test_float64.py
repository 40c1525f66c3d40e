"""A device without float64, which Lightning takes by itself on a Mac, is refused before anything lies there."""

from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import NAME
from fitting import QUIET
from foreign import Tables, batch
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import nn
from torch.utils.data import DataLoader

from mtlzoo.callbacks import EmbeddingMonitor, GateMonitor, GradientSurgery, LossBalancing, rules
from mtlzoo.callbacks.float64 import check_float64


class Apple(CPUAccelerator):
    """Takes a device that is not here."""

    def setup_device(self, device: torch.device) -> None:
        pass


def on_mps(**options: Any) -> L.Trainer:
    """A trainer on a device where torch can make no tensor of float64, here as on a Mac."""
    strategy = SingleDeviceStrategy(device=torch.device("mps"), accelerator=Apple())
    return L.Trainer(strategy=strategy, **QUIET, **options)


@pytest.mark.parametrize(
    "callback",
    [
        lambda: GradientSurgery(rules.Sum()),
        lambda: LossBalancing(rules.Equal()),
        lambda: GateMonitor(modules=["drop"]),
        EmbeddingMonitor,
    ],
)
def test_callbacks_refuse_it(callback: Any) -> None:
    data: Any = DataLoader([batch()], batch_size=None)  # type: ignore[arg-type]
    trainer = on_mps(callbacks=[callback()], max_epochs=1)
    module = Tables()
    with pytest.raises(ValueError, match=r"float64, which 'mps' does not have .*Trainer\(accelerator='cpu'\)"):
        trainer.fit(module, data)
    assert all(parameter.device.type == NAME for parameter in module.parameters())
    assert isinstance(module.drop, nn.Dropout)


def test_others_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA is not asked: a process that is still to be forked must not begin it."""
    check_float64("X", L.Trainer(accelerator="cpu", **QUIET))
    strategy = SingleDeviceStrategy(device=torch.device("cuda"), accelerator=Apple())
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: pytest.fail("asked"))
    check_float64("X", L.Trainer(strategy=strategy, **QUIET))
