"""An average of the weights is what is validated, kept and left behind; the weights are what is trained."""

from pathlib import Path
from types import ModuleType
from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor, nn

import mtlzoo
from mtlzoo import MMoE, SharedBottom
from mtlzoo.cli.checkpoints import BestCheckpoint, LastCheckpoint
from mtlzoo.training.averaging import RAW

EPOCH = 7


class Recorder(L.Callback):
    """Keeps the weights after every step, and what validations see."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []
        self.validated: list[dict[str, Tensor]] = []

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.steps.append(weights(module))

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        self.steps.append(weights(module))

    def on_validation_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        self.validated.append(weights(module))


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


def fit(module: L.LightningModule, data: Any, *callbacks: L.Callback, **options: Any) -> L.Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(
        **{"max_epochs": 2, "accelerator": ACCELERATOR, "enable_checkpointing": False, **quiet, **options},
        callbacks=[*callbacks],
    )
    trainer.fit(module, data)
    return trainer


def model(toy: ModuleType, averaging: float, **options: Any) -> SharedBottom:
    torch.manual_seed(0)
    return SharedBottom(
        toy.SCHEMA, embedding_dim=4, bottom_units=[8], tower_units=[4], lr=0.1, averaging=averaging, **options
    ).double()


@pytest.mark.parametrize("sparse", [False, True])
def test_equals_the_average_of_all_steps(toy: ModuleType, sparse: bool) -> None:
    recorder, plain = Recorder(), Recorder()
    averaged = model(toy, 0.9, batch_norm=True, sparse=sparse)
    trainer = fit(averaged, toy.InMemory(32), recorder, limit_val_batches=1)
    fit(model(toy, 0.0, batch_norm=True, sparse=sparse), toy.InMemory(32), plain, limit_val_batches=1)
    for trained, other in zip(recorder.steps, plain.steps, strict=True):  # nothing but what is kept differs
        assert all(torch.equal(value, other[name]) for name, value in trained.items())
    wanted = recorder.steps[0]
    for step, now in enumerate(recorder.steps[1:], start=1):
        stays = min(0.9, (1 + step) / (10 + step))
        wanted = {n: v * stays + now[n] * (1 - stays) if v.is_floating_point() else now[n] for n, v in wanted.items()}
        if step == EPOCH:
            validated = wanted
    for seen, expected in ((recorder.validated[-2], validated), (weights(averaged), wanted)):
        for name, value in seen.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12)
    before = weights(averaged)
    trainer.validate(averaged, toy.InMemory(32), verbose=False)
    assert all(torch.equal(value, before[name]) for name, value in weights(averaged).items())


def test_checkpoints_hold_the_average(toy: ModuleType, tmp_path: Path) -> None:
    module = model(toy, 0.9).float()
    saves = [BestCheckpoint(tmp_path, *module.monitor), LastCheckpoint(tmp_path)]
    recorder = Recorder()
    data = toy.InMemory(32)
    data.loader = lambda seed, shuffle, make=data.loader: single(make(seed, shuffle))
    trainer = fit(module, data, recorder, *saves, enable_checkpointing=True)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    for name, value in weights(module).items():
        assert torch.equal(checkpoint["state_dict"][name].cpu(), value)
        assert torch.equal(checkpoint[RAW][name].cpu(), recorder.steps[-1][name])
    assert not torch.equal(checkpoint[RAW]["bottom.0.weight"], checkpoint["state_dict"]["bottom.0.weight"])
    loaded = mtlzoo.load(tmp_path / "last.ckpt")
    assert all(torch.equal(value, weights(module)[name]) for name, value in weights(loaded).items())
    (scores,) = trainer.validate(module, data, verbose=False)
    best = torch.load(tmp_path / "best.ckpt", weights_only=True)["mtlzoo"]["metrics"]
    if trainer.global_step == torch.load(tmp_path / "best.ckpt", weights_only=True)["global_step"]:
        assert best["val/auc_mean"] == pytest.approx(scores["val/auc_mean"])


def single(loader: Any) -> Any:
    loader.columns = {k: v.float() if v.dtype == torch.float64 else v for k, v in loader.columns.items()}
    return loader


@pytest.mark.parametrize("averaging", [-0.1, 1.0, float("nan")])
def test_shares_out_of_range(toy: ModuleType, averaging: float) -> None:
    with pytest.raises(ValueError, match=r"allowed are 0 <= averaging < 1"):
        model(toy, averaging)


def test_one_average_is_enough(toy: ModuleType) -> None:
    with pytest.raises(ValueError, match="EMAWeightAveraging averages the weights as well"):
        fit(model(toy, 0.9), toy.InMemory(32), EMAWeightAveraging())


def test_an_average_that_would_look_up_other_rows(toy: ModuleType) -> None:
    """Lightning's takes in the offsets of tables: .9 of 3 and .1 of 3 are 2 as whole numbers."""
    module = MMoE(toy.SCHEMA, embedding_dim=4)
    offsets = module.get_buffer("embedding.first")
    shares = [share / 100 for share in range(50, 100)]
    bad = next(share for share in shares if (offsets * share + offsets * (1 - share)).to(offsets).ne(offsets).any())
    with pytest.raises(ValueError, match=r"makes others of the buffer embedding\.\w+. Leave it out for --model.averag"):
        fit(module, toy.InMemory(32), EMAWeightAveraging(decay=bad))
    trainer = fit(module, toy.InMemory(32), EMAWeightAveraging(decay=bad, use_buffers=False), precision="64-true")
    assert trainer.global_step == 2 * EPOCH
