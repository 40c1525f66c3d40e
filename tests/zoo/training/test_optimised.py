"""How models are trained: accumulation, rates, schedules, precision, what is logged."""

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import lightning as L
import pytest
import torch
from every_model import SinglePrecision, assert_same, build, fitted, trainer
from torch import Tensor


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


def test_batch_norm_survives_batches_of_one_row(toy: ModuleType, tmp_path: Path) -> None:
    module = build(toy, batch_norm=True)
    trainer(tmp_path, max_epochs=1, precision="64-true").fit(module, toy.InMemory(101))
    assert all(value.isfinite().all() for value in module.state_dict().values())
