"""The base module: losses, optimisation, resume, precision, on every model where it matters."""

from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
import torch
from every_model import MODELS, SinglePrecision, assert_same, build, trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

import mtlzoo
from mtlzoo import MMoE, SharedBottom
from mtlzoo.schema import FeatureSchema


@pytest.mark.every_case
@pytest.mark.parametrize("model", MODELS)
def test_forward_gives_every_tasks_logits(toy: ModuleType, model: str) -> None:
    module = build(toy, model).double()
    rows = toy.columns(7, 0)
    logits = module(rows)
    assert {name: tuple(value.shape) for name, value in logits.items()} == {"click": (7,), "like": (7,), "stars": (7,)}
    one = module({name: column[:1] for name, column in rows.items()})
    torch.testing.assert_close(one["click"], logits["click"][:1])


@pytest.mark.every_case
@pytest.mark.parametrize("model", MODELS)
def test_every_parameter_learns(toy: ModuleType, model: str) -> None:
    module = build(toy, model).double()
    rows = toy.columns(50, 0)
    torch.stack(module.losses(module(rows), rows, module.count_observed(rows))).sum().backward()
    dead = [name for name, parameter in module.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert not dead


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_a_device_without_float64_is_refused(
    toy: ModuleType, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apple's, which Lightning takes by itself: metrics are float64."""
    run = trainer(tmp_path)
    monkeypatch.setattr(type(run.strategy), "root_device", torch.device("mps"))
    monkeypatch.setattr(type(run.accelerator), "setup_device", lambda *_: None)
    with pytest.raises(ValueError, match=r"SharedBottom adds up in float64.*accelerator='cpu'"):
        getattr(run, command)(build(toy), datamodule=toy.InMemory(32))


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_networks_compile_as_one_graph(toy: ModuleType, model: str) -> None:
    module = build(toy, model).double().eval()
    rows = toy.columns(9, 0)
    torch.compiler.reset()
    compiled = torch.compile(module.forward, fullgraph=True, backend="aot_eager", dynamic=False)
    for name, value in module(rows).items():
        torch.testing.assert_close(compiled(rows)[name], value)


def test_losses_are_means_over_the_rows_that_observe_a_task(toy: ModuleType) -> None:
    module = build(toy).double()
    rows = toy.columns(101, 0)
    logits = module(rows)
    losses = module.losses(logits, rows, module.count_observed(rows))
    weight = rows["weight"]
    labels = rows["labels"]
    for i, (task, scale) in enumerate((("click", 1.0), ("like", 2.0))):
        seen = ~labels[:, i].isnan()
        p = logits[task].sigmoid()
        entropy = -(labels[:, i] * p.log() + (1 - labels[:, i]) * (1 - p).log())[seen]
        torch.testing.assert_close(losses[i], scale * (entropy * weight[seen]).sum() / weight[seen].sum())
    seen = ~labels[:, 2].isnan()
    error = (logits["stars"] - (labels[:, 2] - 3) / 2)[seen] ** 2
    torch.testing.assert_close(losses[2], (error * weight[seen]).sum() / weight[seen].sum())


def test_a_task_that_nobody_observed_contributes_nothing(toy: ModuleType) -> None:
    module = build(toy).double()
    rows = toy.columns(20, 0)
    rows["labels"][:, 1] = torch.nan
    losses = module.losses(module(rows), rows, module.count_observed(rows))
    assert losses[1] == 0
    torch.stack(losses).sum().backward()
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    towers = cast(nn.ModuleList, module.towers)
    assert not any(p.grad.any() for p in towers[1].parameters() if p.grad is not None)


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")  # resumed runs write beside the first
@pytest.mark.parametrize(
    "options", [{}, {"sparse": True, "clip_norm": 0.1, "schedule": "cosine"}, {"model": "PLE", "dropout": 0.3}]
)
def test_resume_is_bit_identical(toy: ModuleType, tmp_path: Path, options: dict[str, Any]) -> None:
    """Stopped inside, at the end of and between epochs; dropout goes on with its random numbers."""
    whole = build(toy, **options)
    trainer(tmp_path, max_epochs=3).fit(whole, SinglePrecision(toy.InMemory(32)))
    save = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    first = trainer(tmp_path, max_epochs=3, callbacks=[save], enable_checkpointing=True)
    first.fit(build(toy, **options), SinglePrecision(toy.InMemory(32)))
    for step in (3, 7, 10, 14, 20):  # 7 batches an epoch
        resumed = build(toy, **{**options, "lr": 0.5})
        torch.manual_seed(step)
        saves = ModelCheckpoint(tmp_path, filename="again-{step}", every_n_train_steps=1, save_top_k=0)
        again = trainer(tmp_path, max_epochs=3, callbacks=[saves], enable_checkpointing=True)
        again.fit(resumed, SinglePrecision(toy.InMemory(32)), ckpt_path=tmp_path / f"step={step}.ckpt")
        assert again.global_step == 21
        assert_same(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("model", MODELS)
def test_checkpoints_hold_plain_things_only(toy: ModuleType, tmp_path: Path, model: str) -> None:
    module = build(toy, model)
    one = trainer(tmp_path, max_epochs=1, precision="64-true")
    one.fit(module, toy.InMemory(64))
    one.save_checkpoint(tmp_path / "one.ckpt")
    loaded = mtlzoo.load(tmp_path / "one.ckpt")
    assert type(loaded) is type(module)
    assert not loaded.training
    assert loaded.schema == toy.SCHEMA
    assert_same(loaded.double().state_dict(), module.state_dict(), rtol=1e-6, atol=1e-7)
    again = type(module).load_from_checkpoint(tmp_path / "one.ckpt")
    assert again.lr == 0.01
    torch.load(tmp_path / "one.ckpt", weights_only=True)


def test_monitor_follows_the_tasks(toy: ModuleType) -> None:
    features, tasks = toy.SCHEMA.features, toy.SCHEMA.tasks
    assert build(toy).monitor == ("val/auc_mean", "max")
    assert MMoE(FeatureSchema(features, tasks[2:])).monitor == ("val/rmse_mean", "min")
    stars = mtlzoo.Task("class", "multiclass", classes=3)
    assert MMoE(FeatureSchema(features, (stars,))).monitor == ("val/accuracy_mean", "max")


RATES = ("lr", "weight_decay", "table_lr", "table_weight_decay")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"optimizer": "rmsprop"}, "optimizer='rmsprop'.*adam"),
        ({"accumulate": 0}, "accumulate=0"),
        ({"clip_norm": 0.0}, "clip_norm=0.0"),
        ({"warmup_steps": 3, "schedule": "plateau"}, "plateau"),
        ({"schedule": "step"}, "schedule='step'"),
        *(({name: value}, name) for name in RATES for value in (-1.0, float("nan"), float("inf"))),
        *(({name: None}, f"{name}.: None") for name in ("lr", "weight_decay", "table_weight_decay")),
        *(({name: value}, name) for name in ("bottom_units", "tower_units") for value in ([0], [8, -1], [2.5])),
        *(({"embedding_dim": value}, "embedding_dim") for value in (0, -4, 2.5)),
        ({"model": "MMoE", "experts": 0}, "MMoE: experts=0; allowed are whole numbers >= 1"),
        ({"model": "MMoE", "expert_units": []}, "one layer or more"),
        ({"model": "PLE", "levels": 0}, "levels"),
        ({"model": "PLE", "shared_experts": -1}, "shared_experts=-1; allowed are whole numbers >= 0"),
        ({"model": "AdaTT", "task_experts": 0}, "task_experts"),
        ({"model": "STEMNet", "shared_experts": 0}, "shared_experts"),
        ({"model": "STEMNet", "layers": 0}, "layers"),
        ({"model": "AITM", "bottom_units": []}, "one layer or more"),
        ({"model": "SoftSharing", "bottom_units": []}, "one layer or more"),
        ({"model": "PEPNet", "gate_units": 0}, "gate_units"),
    ],
)
def test_refuses_options_out_of_range(toy: ModuleType, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(toy, **wrong)


def test_misspelt_options_are_refused(toy: ModuleType) -> None:
    with pytest.raises(TypeError, match="lrr"):
        SharedBottom(toy.SCHEMA, lrr=0.1)
