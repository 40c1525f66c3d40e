"""Values and scores that a training cannot have are refused before anything is prepared or written."""

from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.strategies import SingleDeviceStrategy

import mtlzoo
from mtlzoo.cli.rehearsal import are_measured
from mtlzoo.datamodules import Synthetic

Run = Callable[..., str]
PCD = ["--trainer.callbacks+=GradientSurgery", "--trainer.callbacks.rule=PCD"]


def weighing(callback: str, rule: str, *options: str) -> list[str]:
    """Words that add a callback with a rule and its options."""
    words = [f"+={callback}", f".rule={rule}", *(f".rule.{option}" for option in options)]
    return [f"--trainer.callbacks{word}" for word in words]


def stopping(callback: str, monitor: str) -> list[str]:
    """Words that add a callback which watches a score."""
    return [f"--trainer.callbacks+={callback}", f"--trainer.callbacks.monitor={monitor}"]


class Logs(L.Callback):
    """Logs a score that nobody knows."""


@pytest.mark.parametrize("monitor", ["val/auc_mean", "val/is_click/gauc_impressions", "train/loss", "step"])
def test_scores_that_there_are_may_be_watched(monitor: str) -> None:
    model = mtlzoo.MMoE(Synthetic(rows=3000, users=100).schema)
    watching = [EarlyStopping(monitor), ModelCheckpoint(monitor=monitor), ModelCheckpoint()]
    are_measured(watching, model)
    are_measured([*watching, EarlyStopping("val/other"), Logs()], model)
    are_measured([EarlyStopping("val/other", strict=False)], model)
    with pytest.raises(ValueError, match="no validation has such a score"):
        are_measured([*watching, EarlyStopping("val/other")], model)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trainer.accelerator", "gpu", "--trainer.devices", "1"], "gpu"),
        (["--trainer", "configs/trainer/gpu.yaml"], "gpu"),
        (["--trainer.max_steps", "-5"], "max_steps"),
        (["--trainer.val_check_interval", "-1"], "val_check_interval"),
        (["--trainer.precision", "8-fast"], "precision"),
        (["--trainer.num_nodes", "0"], "num_nodes"),
        (["--model.embedding_dim", "-4"], "embedding_dim=-4"),
        (["--model.optimizer", "sgd", "--model.schedule", "plateau", "--model.warmup_steps", "3"], "warmup_steps=3"),
        (["--model", "ESMM", "--model.funnel", "[is_clik, is_like]"], "is_clik"),
        (
            [
                "--trainer.callbacks+=GradientSurgery",
                "--trainer.callbacks.rule=CAGrad",
                "--trainer.callbacks.rule.c=-1",
            ],
            "c=-1",
        ),
        ([*PCD, "--trainer.callbacks.rule.main_task=is_clik"], "main_task='is_clik'; the tasks are"),
        ([*PCD, "--trainer.callbacks.rule.main_task=7"], "main_task=7; the tasks are"),
        (["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.save_top_k=-7"], "save_top_k"),
        (["--trainer.callbacks+=ConflictMonitor", "--trainer.callbacks.every_n_steps=0"], "every_n_steps"),
        (
            [
                "--trainer.logger+=CSVLogger",
                "--trainer.logger.save_dir",
                "x",
                "--trainer.logger.flush_logs_every_n_steps=a",
            ],
            "flush",
        ),
        (["--data.batch_size", "0"], "batch_size"),
        (["--model.lr", "-1"], "{'lr': -1.0}; allowed are finite numbers >= 0"),
        (["--model", "PLE", "--model.levels", "0"], "PLE: levels=0; allowed are whole numbers >= 1"),
        (["--model", "AITM", "--model.bottom_units", "[]"], "bottom_units=[]; allowed is one layer or more"),
        (["--model", "torch.nn.Linear"], "--model: torch.nn.Linear is something else. Known are AITM"),
        (["--trainer.logger+=os.system"], "--trainer.logger: os.system is something else. Known are CSVLogger"),
        (stopping("EarlyStopping", "val/auc_meen"), "Did you mean 'val/auc_mean'? There are val/accuracy_mean"),
        (stopping("ModelCheckpoint", "val_loss"), "monitor='val_loss'; no validation has such a score"),
        (["--trainer.val_check_interval", "0"], "use --trainer.limit_val_batches 0"),
        (["--trainer.check_val_every_n_epoch", "0"], "allowed are whole numbers >= 1"),
        (["--patience", "0"], "--patience: 0; allowed are whole numbers >= 1"),
        (["--checkpoint_every", "0"], "--checkpoint_every: 0; allowed are whole numbers >= 1"),
        (["--ckpt_path", ""], "there is no checkpoint"),
        (["--trainer.callbacks+=ConflictMonitor"], "rule=Sum changes nothing and only measures"),
        ([*weighing("GradientSurgery", "PCGrad"), *weighing("LossBalancing", "UW")], "keep one callback"),
        ([*weighing("GradientSurgery", "UPGrad", "preference=[1, 2]")], "2 numbers in preference for 3 tasks"),
        ([*weighing("LossBalancing", "FixedWeights", "weights=[1]")], "1 numbers in weights for 3 tasks"),
        ([*weighing("LossBalancing", "FAMO"), "--model.accumulate", "2"], "accumulate=2 cuts it up"),
    ],
)
def test_wrong_values_are_refused_before_anything_is_prepared_or_written(run: Run, words: list[str], said: str) -> None:
    words = words if "--model" in words else ["--model", "MMoE", *words]
    printed = run("fit", "--data", "Synthetic", "--data.rows", "500", "--data.prepared", "prepared", *words, code=2)
    assert said in printed
    assert not Path("runs").exists()
    assert not Path("prepared").exists()


def test_a_device_without_float64_is_refused_as_well(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Mac Lightning takes Apple's GPU where nothing is said."""
    monkeypatch.setattr(SingleDeviceStrategy, "root_device", torch.device("mps"))
    printed = run("fit", "--data", "Synthetic", "--data.prepared", "prepared", "--model", "MMoE", code=2)
    assert "float64, which 'mps' does not have" in printed
    assert "--trainer.accelerator cpu" in printed
    assert not Path("prepared").exists()
