"""The base module: losses, optimisation, resume, precision, on every model where it matters."""

import math
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import lightning as L
import pytest
import torch
from device import ACCELERATOR
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

import mtlzoo
from mtlzoo import MMoE, MultiTaskModule, SharedBottom
from mtlzoo.schema import FeatureSchema

SMALL: dict[str, dict[str, Any]] = {
    "AITM": {"bottom_units": [8], "tower_units": [8]},
    "AdaTT": {"levels": 2, "shared_experts": 1, "expert_units": [8], "tower_units": [8]},
    "CrossStitch": {"bottom_units": [8, 8], "tower_units": [8]},
    "ESMM": {"funnel": ["click", "like"], "require_funnel": False, "tower_units": [8]},
    "SingleTask": {"units": [8]},
    "SharedBottom": {"bottom_units": [8], "tower_units": [4]},
    "OMoE": {"experts": 2, "expert_units": [8], "tower_units": [4]},
    "MMoE": {"experts": 2, "expert_units": [8], "tower_units": [4]},
    "PEPNet": {"prior": ["user", "item"], "domain": ["tags"], "tower_units": [8], "gate_units": 8},
    "PLE": {"levels": 2, "expert_units": [8], "tower_units": [4]},
    "SoftSharing": {"bottom_units": [8], "tower_units": [8]},
    "STEMNet": {"layers": 2, "shared_experts": 2, "expert_units": [8], "tower_units": [4]},
}
"""Options that keep the tests quick; a model that is not here is tested as it is by default."""
MODELS = sorted(
    name
    for name in mtlzoo.__all__
    if isinstance(kind := getattr(mtlzoo, name), type)
    and issubclass(kind, MultiTaskModule)
    and kind is not MultiTaskModule
)


def trainer(folder: Path, **options: Any) -> L.Trainer:
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    return L.Trainer(
        default_root_dir=folder,
        accelerator=ACCELERATOR,
        **{**quiet, "max_epochs": 2, "log_every_n_steps": 1, **options},
    )


def build(toy: ModuleType, model: str = "SharedBottom", **options: Any) -> MultiTaskModule:
    torch.manual_seed(0)
    module: MultiTaskModule = getattr(mtlzoo, model)(
        toy.SCHEMA, **{"embedding_dim": 4, "lr": 0.01, **SMALL.get(model, {}), **options}
    )
    return module


def fitted(
    toy: ModuleType, folder: Path, batch_size: int = 32, run: dict[str, Any] | None = None, **options: Any
) -> dict[str, Tensor]:
    module = build(toy, **options)
    trainer(folder, precision="64-true", **(run or {})).fit(module, toy.InMemory(batch_size))
    return module.state_dict()


def assert_same(got: dict[str, Tensor], expected: dict[str, Tensor], **tolerance: float) -> None:
    assert set(got) == set(expected)
    options: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-11, **tolerance}
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, **options, msg=partial("{}: {}".format, name))


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


@pytest.mark.parametrize("rows", [0, 1, 4, 5, 6, 7])
def test_processes_with_unequal_shares_make_as_many_micro_batches(toy: ModuleType, rows: int) -> None:
    """Batch norm over processes (`sync_batchnorm`) waits for the others in every one of them."""
    parts = list(build(toy, accumulate=3)._micro_batches(toy.columns(rows, 0)))
    assert [last for _, last in parts] == [False, False, True]
    assert sum(len(part["labels"]) for part, _ in parts) == rows


@pytest.mark.parametrize(
    "options", [{}, {"sparse": True, "table_optimizer": "adagrad"}, {"model": "MMoE", "clip_norm": 0.05}]
)
def test_accumulation_equals_the_whole_batch(toy: ModuleType, tmp_path: Path, options: dict[str, Any]) -> None:
    assert_same(fitted(toy, tmp_path, accumulate=5, **options), fitted(toy, tmp_path, **options))


def test_sparse_sgd_equals_dense_sgd(toy: ModuleType, tmp_path: Path) -> None:
    options: dict[str, Any] = {"optimizer": "sgd", "lr": 0.5, "clip_norm": 0.3}
    assert_same(fitted(toy, tmp_path, sparse=True, **options), fitted(toy, tmp_path, **options))


def test_one_step_per_batch_whatever_the_options(toy: ModuleType, tmp_path: Path) -> None:
    one = trainer(tmp_path, precision="64-true")
    module = build(toy, accumulate=4, sparse=True, table_optimizer="sgd", clip_norm=1.0)
    one.fit(module, toy.InMemory(32))
    assert one.global_step == 2 * math.ceil(203 / 32)


def test_tables_have_a_rate_and_decay_of_their_own(toy: ModuleType, tmp_path: Path) -> None:
    def moved(**options: Any) -> tuple[bool, bool]:
        start = {name: value.double().cpu() for name, value in build(toy).state_dict().items()}
        end = fitted(toy, tmp_path, optimizer="sgd", **options)
        tables = not torch.equal(end["embedding.table.weight"], start["embedding.table.weight"])
        return tables, not torch.equal(end["bottom.0.weight"], start["bottom.0.weight"])

    assert moved(table_lr=0.0) == (False, True)
    assert moved(lr=0.0, table_lr=0.1) == (True, False)
    assert moved(lr=0.0, table_lr=0.1, sparse=True) == (True, False)
    decayed = fitted(toy, tmp_path, optimizer="sgd", table_weight_decay=5.0)
    plain = fitted(toy, tmp_path, optimizer="sgd")
    assert decayed["embedding.table.weight"].norm() < plain["embedding.table.weight"].norm()
    torch.testing.assert_close(decayed["bottom.0.bias"], plain["bottom.0.bias"], rtol=0.05, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"schedule": "constant"}, [1.0] * 14),
        ({"schedule": "linear"}, [1 - i / 14 for i in range(14)]),
        (
            {"schedule": "cosine", "warmup_steps": 4},
            [*(i / 5 for i in range(1, 5)), *((1 + math.cos(math.pi * i / 10)) / 2 for i in range(10))],
        ),
        ({"schedule": "constant", "warmup_steps": 2}, [1 / 3, 2 / 3, *([1.0] * 12)]),
    ],
)
def test_schedules(toy: ModuleType, tmp_path: Path, options: dict[str, Any], expected: list[float]) -> None:
    rates: list[float] = []

    class Watch(L.Callback):
        def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
            assert len({group["lr"] for group in optimizer.param_groups}) == 1
            rates.append(optimizer.param_groups[0]["lr"] / 0.01)

    trainer(tmp_path, precision="64-true", callbacks=[Watch()]).fit(build(toy, **options), toy.InMemory(32))
    assert rates == pytest.approx(expected)


def test_plateau_lowers_the_rate_when_the_score_stalls(toy: ModuleType, tmp_path: Path) -> None:
    one = trainer(tmp_path, precision="64-true", max_epochs=5)
    module = build(toy, schedule="plateau", lr=1e-6, optimizer="sgd")  # nothing improves
    one.fit(module, toy.InMemory(32))
    assert one.optimizers[0].param_groups[0]["lr"] < 0.9e-6


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
        again = trainer(
            tmp_path,
            max_epochs=3,
            callbacks=[ModelCheckpoint(tmp_path, filename="again-{step}", every_n_train_steps=1, save_top_k=-1)],
            enable_checkpointing=True,
        )
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


@pytest.mark.slow
def test_bfloat16_trains(toy: ModuleType, tmp_path: Path) -> None:
    module = build(toy, "MMoE", sparse=True, clip_norm=1.0)
    rows = {name: c.float() if c.dtype == torch.float64 else c for name, c in toy.columns(203, 0).items()}
    before = torch.stack(module.losses(module(rows), rows, module.count_observed(rows))).sum()
    data = toy.InMemory(32)
    trainer(tmp_path, max_epochs=10, precision="bf16-mixed").fit(module, SinglePrecision(data))
    after = torch.stack(module.losses(module(rows), rows, module.count_observed(rows))).sum()
    assert after < 0.9 * before
    assert all(parameter.dtype == torch.float32 for parameter in module.parameters())


class SinglePrecision(L.LightningDataModule):
    """The toy data in float32."""

    def __init__(self, data: Any) -> None:
        super().__init__()
        self.data = data

    def train_dataloader(self) -> Any:
        return single(self.data.train_dataloader())

    def val_dataloader(self) -> Any:
        return single(self.data.val_dataloader())


def single(loader: Any) -> Any:
    loader.columns = {k: v.float() if v.dtype == torch.float64 else v for k, v in loader.columns.items()}
    return loader


def scaled(
    toy: ModuleType, folder: Path, poison: int | None = None, run: dict[str, Any] | None = None, **options: Any
) -> tuple[dict[str, Tensor], Any]:
    """fp16's way, emulated: the gradient scaler of a GPU on the CPU's float32; step `poison` overflows."""
    plugin = L.pytorch.plugins.MixedPrecision(
        "16-mixed", device="cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0**10)
    )
    plugin.autocast_context_manager = lambda: torch.autocast("cpu", enabled=False)  # type: ignore[method-assign]

    class Poison(L.Callback):
        def on_after_backward(self, trainer: Any, module: Any) -> None:
            if trainer.global_step == poison:
                module.bottom[0].weight.grad[0, 0] = torch.inf

    module = build(toy, **options)
    one = trainer(folder, **{"plugins": [plugin], "callbacks": [Poison()], "max_epochs": 1, **(run or {})})
    one.fit(module, SinglePrecision(toy.InMemory(32)))
    return module.state_dict(), plugin.scaler


@pytest.mark.parametrize("options", [{"clip_norm": 0.05}, {"sparse": True, "clip_norm": 0.05, "accumulate": 2}])
def test_scaled_gradients_are_clipped_unscaled(toy: ModuleType, tmp_path: Path, options: dict[str, Any]) -> None:
    got, _ = scaled(toy, tmp_path, **options)
    module = build(toy, **options)
    trainer(tmp_path, max_epochs=1).fit(module, SinglePrecision(toy.InMemory(32)))
    assert_same(got, module.state_dict(), rtol=1e-4, atol=1e-6)


def test_an_overflowing_step_is_skipped_for_all_weights(toy: ModuleType, tmp_path: Path) -> None:
    """All batches but one overflow-free: the weights are those of a training that never saw that batch."""
    weights, scaler = scaled(toy, tmp_path, poison=6, sparse=True)
    assert scaler.get_scale() == 2.0**9
    unpoisoned, _ = scaled(toy, tmp_path, sparse=True, run={"limit_train_batches": 6})
    assert_same(weights, unpoisoned, rtol=0, atol=0)


def test_a_loss_that_is_not_finite_stops_the_training(toy: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"stars.*not finite.*lr="):
        trainer(tmp_path, max_epochs=50, precision="64-true").fit(
            build(toy, lr=1e60, optimizer="sgd"), toy.InMemory(32)
        )


def test_logs_means_of_every_task(toy: ModuleType, tmp_path: Path) -> None:
    one = trainer(tmp_path, precision="64-true", log_every_n_steps=3)
    one.fit(build(toy), toy.InMemory(32))
    got = one.callback_metrics
    assert got["train/loss"] == pytest.approx(sum(got[f"train/{task}/loss"] for task in ("click", "like", "stars")))
    auc = [got[f"val/{task}/auc"].item() for task in ("click", "like")]
    assert got["val/auc_mean"] == pytest.approx(sum(auc) / 2)
    assert "val/stars/rmse" in got


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


def test_batch_norm_survives_batches_of_one_row(toy: ModuleType, tmp_path: Path) -> None:
    module = build(toy, batch_norm=True)
    trainer(tmp_path, max_epochs=1, precision="64-true").fit(module, toy.InMemory(101))
    assert all(value.isfinite().all() for value in module.state_dict().values())
