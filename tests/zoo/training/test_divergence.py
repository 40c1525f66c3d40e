"""A training that diverges says so in that epoch, before anything is saved; what has no score is never best."""

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from mtlzoo import SharedBottom
from mtlzoo.cli.checkpoints import LastCheckpoint, Patience
from mtlzoo.training.best import BestCheckpoint
from mtlzoo.training.train_losses import SKIPPED, TrainLosses

EPOCH = 7
pytestmark = [
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]


class Poison(L.Callback):
    """Makes a weight NaN after so many steps, once."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: L.Trainer, module: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            module.bottom[0].weight.data[0, 0] = torch.nan


class OneClass(L.LightningDataModule):
    """The toy data, whose labels of validation are 0 up to some epoch."""

    def __init__(self, toy: ModuleType, until: int) -> None:
        super().__init__()
        self.toy, self.until = toy.InMemory(32), until

    def train_dataloader(self) -> Any:
        return self.toy.loader(0, shuffle=True)

    def val_dataloader(self) -> Any:
        loader = self.toy.loader(1, shuffle=False)
        if self.trainer and self.trainer.current_epoch < self.until:
            labels = loader.columns["labels"]
            loader.columns = {**loader.columns, "labels": torch.where(labels.isnan(), labels, 0.0)}
        return loader


def fit(toy: ModuleType, *callbacks: L.Callback, data: Any = None, **run: Any) -> L.Trainer:
    torch.manual_seed(0)
    model = SharedBottom(toy.SCHEMA, embedding_dim=4, bottom_units=[8], tower_units=[4])
    checkpoints = any(isinstance(callback, L.pytorch.callbacks.Checkpoint) for callback in callbacks)
    trainer = L.Trainer(
        accelerator=ACCELERATOR,
        precision="64-true",
        callbacks=[*callbacks],
        **{
            "max_epochs": 3,
            "logger": False,
            "enable_checkpointing": checkpoints,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            **run,
        },
    )
    trainer.fit(model, data or toy.InMemory(32))
    return trainer


@pytest.mark.parametrize("every", [0, 1, 50])
@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("bad", [2, EPOCH - 1, EPOCH + 2])
def test_a_loss_that_is_not_finite_is_named_in_its_epoch(
    toy: ModuleType, tmp_path: Path, every: int, validated: bool, bad: int
) -> None:
    """Nothing of it is saved: neither best nor last, nor by anybody else."""
    saves: list[L.Callback] = [
        LastCheckpoint(tmp_path),
        ModelCheckpoint(tmp_path / "all", "{step}", every_n_train_steps=1, save_top_k=-1, save_on_exception=True),
    ]
    if validated:
        saves.append(BestCheckpoint(tmp_path, "val/auc_mean", "max"))
    with pytest.raises(FloatingPointError, match=r"not finite.*Lower lr=0.001"):
        fit(toy, Poison(bad), *saves, log_every_n_steps=every, limit_val_batches=1.0 if validated else 0)
    saved = list(tmp_path.rglob("*.ckpt"))
    assert (tmp_path / "last.ckpt").exists() == (bad > EPOCH)
    assert len(list((tmp_path / "all").glob("*.ckpt"))) == bad
    for path in saved:
        checkpoint = torch.load(path, weights_only=True)
        assert checkpoint["global_step"] <= bad
        assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())


@pytest.mark.parametrize("bad", [2, EPOCH - 1])
def test_it_is_named_without_any_checkpoint(toy: ModuleType, bad: int) -> None:
    with pytest.raises(FloatingPointError, match=f"at step {EPOCH}, or was not at one of the {EPOCH - 1} before"):
        fit(toy, Poison(bad))
    with pytest.raises(FloatingPointError, match="not finite"):
        fit(toy, Poison(bad), limit_val_batches=0, log_every_n_steps=0)
    with pytest.raises(FloatingPointError, match="not finite"):
        fit(toy, Poison(1), max_steps=3)


def test_the_last_step_may_be_the_one_that_breaks_the_weights(toy: ModuleType, tmp_path: Path) -> None:
    """Its loss was finite, what it left is not."""

    class Break(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, module: Any, *_: Any) -> None:
            if trainer.global_step == 2 * EPOCH:
                module.bottom[0].weight.data[0, 0] = torch.inf

    with pytest.raises(FloatingPointError, match=rf"1 of \d+ weights are not finite after step {2 * EPOCH}, bottom"):
        fit(toy, Break(), LastCheckpoint(tmp_path), limit_val_batches=0)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == EPOCH


def test_steps_that_a_scaler_skips_are_no_divergence() -> None:
    losses = TrainLosses(["a", "b"], "")
    for step in range(10):
        losses.add(torch.tensor([torch.inf if step < 4 else 1.0, 2.0]), scaled=True)
    assert losses.means(10) == {"a": 1.0, "b": 2.0}
    losses.clear()
    losses.add(torch.tensor([torch.nan, 2.0]), scaled=True)
    assert math.isnan(losses.means(11)["a"])
    for _ in range(SKIPPED):
        losses.add(torch.tensor([torch.nan, 2.0]), scaled=True)
    with pytest.raises(FloatingPointError):
        losses.means(60)


@pytest.mark.filterwarnings("ignore:val/auc_mean is not defined")
@pytest.mark.parametrize("until", [1, 3])
def test_a_score_that_is_not_defined(toy: ModuleType, tmp_path: Path, until: int) -> None:
    """Never the best where there is another, which best.ckpt is until then; patience and schedule don't count it."""
    best, patience = BestCheckpoint(tmp_path, "val/auc_mean", "max"), Patience("val/auc_mean", "max", 1)
    trainer = fit(toy, best, patience, data=OneClass(toy, until), reload_dataloaders_every_n_epochs=1)
    assert trainer.global_step >= (3 if until == 3 else 2) * EPOCH
    saved = torch.load(tmp_path / "best.ckpt", weights_only=True)
    if until == 3:
        assert best.best_model_score is None
        assert math.isnan(trainer.callback_metrics["val/auc_mean"])
        assert saved["global_step"] == 3 * EPOCH  # no best means last
        assert patience.wait_count == 0
    else:
        assert best.best_model_score is not None
        assert best.best_model_score.isfinite()
        assert saved["global_step"] > EPOCH
    assert best.best_model_path == str(tmp_path / "best.ckpt")


def test_it_is_warned_of_once(toy: ModuleType) -> None:
    with pytest.warns(UserWarning, match="val/auc_mean is not defined") as caught:
        fit(toy, data=OneClass(toy, 9), reload_dataloaders_every_n_epochs=1)
    assert sum("not defined" in str(one.message) for one in caught) == 1


@pytest.mark.slow
def test_early_stopping_that_is_over_stays_over(toy: ModuleType, tmp_path: Path) -> None:
    """With more patience it goes on, as a training that had it from the start."""

    def patient(patience: int, path: Path | None = None) -> tuple[int, int]:
        torch.manual_seed(0)
        # Nothing improves: the first score is the best.
        model = SharedBottom(toy.SCHEMA, embedding_dim=4, bottom_units=[8], tower_units=[4], lr=0.0)
        quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        stopping = Patience("val/auc_mean", "max", patience)
        trainer = L.Trainer(
            accelerator=ACCELERATOR,
            max_epochs=9,
            callbacks=[stopping, LastCheckpoint(tmp_path)],
            precision="64-true",
            **quiet,
        )
        trainer.fit(model, toy.InMemory(32), ckpt_path=path)
        return trainer.global_step, stopping.wait_count

    assert patient(2) == (3 * EPOCH, 2)
    with pytest.warns(UserWarning, match="To go on give a larger one"):
        assert patient(2, tmp_path / "last.ckpt") == (3 * EPOCH, 2)
    assert patient(4, tmp_path / "last.ckpt") == (5 * EPOCH, 4)


# ---- a Trainer that was told nothing of checkpoints


@pytest.mark.parametrize("validates", [{}, {"val_check_interval": 3}, {"check_val_every_n_epoch": 2}])
def test_a_plain_trainer_keeps_the_best_epoch(toy: ModuleType, tmp_path: Path, validates: dict[str, Any]) -> None:
    trainer = fit(toy, enable_checkpointing=True, default_root_dir=tmp_path, max_epochs=4, **validates)
    best = trainer.checkpoint_callback
    assert isinstance(best, BestCheckpoint)
    assert best.best_model_score is not None
    files = list(tmp_path.rglob("*.ckpt"))
    assert [str(path) for path in files] == [best.best_model_path]
    score = torch.load(files[0], weights_only=True)["mtlzoo"]["metrics"]["val/auc_mean"]
    assert score == pytest.approx(best.best_model_score.item())
    trainer.test(ckpt_path="best", datamodule=toy.InMemory(32), verbose=False)
    assert trainer.checkpoint_callbacks == [best]


@pytest.mark.parametrize(
    "run",
    [
        {"enable_checkpointing": False},
        {"fast_dev_run": True},
        {"barebones": True, "logger": None, "enable_checkpointing": None, "enable_progress_bar": None}
        | {"enable_model_summary": None},
        {"enable_checkpointing": True, "limit_val_batches": 0},
    ],
)
def test_it_is_no_more_than_that(toy: ModuleType, tmp_path: Path, run: dict[str, Any]) -> None:
    trainer = fit(toy, **{"default_root_dir": tmp_path, "max_epochs": 1, **run})
    assert not any(isinstance(callback, BestCheckpoint) for callback in trainer.callbacks)  # type: ignore[attr-defined]
    assert bool(list(tmp_path.rglob("*.ckpt"))) == ("limit_val_batches" in run)  # the last epoch, as ever


def test_somebody_elses_checkpoints_stay_as_they_are(toy: ModuleType, tmp_path: Path) -> None:
    own = ModelCheckpoint(tmp_path, monitor="val/stars/rmse")
    trainer = fit(toy, own, LastCheckpoint(tmp_path), max_epochs=1)
    assert trainer.checkpoint_callbacks[0] is own
    assert len(trainer.checkpoint_callbacks) == 2


# ---- what is logged


class Log(L.pytorch.loggers.CSVLogger):
    """Keeps what it is given."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.rows: list[tuple[int, float]] = []

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        if "train/loss" in metrics:
            self.rows.append((step or 0, float(metrics["train/loss"])))


@pytest.mark.slow
def test_the_train_loss_is_logged_once_an_epoch_at_least(toy: ModuleType, tmp_path: Path) -> None:
    """As the mean over all steps since the last time."""
    every = Log(tmp_path)
    fit(toy, logger=every, log_every_n_steps=1)
    losses = [loss for _, loss in every.rows]
    for n in (3, 5, 10, 50):
        some = Log(tmp_path)
        trainer = fit(toy, logger=some, log_every_n_steps=n)
        steps = [step for step, _ in some.rows]
        assert steps == sorted(set(steps))
        assert all(any(step // EPOCH == epoch for step in steps) for epoch in range(3))
        assert {step for step in range(3 * EPOCH) if (step + 1) % n == 0} <= set(steps)
        first = 0
        for step, mean in some.rows:
            assert mean == pytest.approx(sum(losses[first : step + 1]) / (step + 1 - first))
            first = step + 1
        assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(some.rows[-1][1])


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_schedule_without_an_end_is_refused_in_words(toy: ModuleType, schedule: Any) -> None:
    limits: list[dict[str, Any]] = [{"max_epochs": -1}, {"max_time": "00:00:00:02"}]
    for run in limits:
        model = SharedBottom(toy.SCHEMA, schedule=schedule)
        trainer = L.Trainer(accelerator=ACCELERATOR, logger=False, enable_checkpointing=False, **run)
        with pytest.raises(ValueError, match=r"max_epochs=-1, max_steps=-1. Give max_epochs or max_steps"):
            trainer.fit(model, toy.InMemory(32))


def test_sums_go_on_by_process() -> None:
    first, again = (TrainLosses(["a"], "") for _ in range(2))
    for value in (0.1, 0.2):
        first.add(torch.tensor([value]), scaled=False)
    again.load_state_dict(first.state_dict(), torch.device("cpu"), 0)
    assert again.means(2) == first.means(2)
    assert again.steps == 2
    parts: list[Tensor] = [torch.tensor([0.5, 2.0]), torch.tensor([1.5, 2.0])]  # of two processes, in one
    again.load_state_dict({"steps": 2, "sums": parts}, torch.device("cpu"), 0)
    assert again.means(2) == {"a": 0.5}
