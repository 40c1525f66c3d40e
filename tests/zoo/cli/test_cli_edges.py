"""Trainings at the edge: limits, no score, no rows of validation, divergence."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch

from mtlzoo.datamodules.errors import DataError

Run = Callable[..., str]
RUN = Path("runs/Synthetic-MMoE-s0/version_0")


def table(folder: Path, day_of_zeros: int, days: int = 10) -> list[str]:
    """A table with days; on one of them every label is 0."""
    folder.mkdir()
    day = [i * days // 400 for i in range(400)]
    labels = [0 if d == day_of_zeros else i % 2 for i, d in enumerate(day)]
    pl.DataFrame({"user": [i % 7 for i in range(400)], "y": labels, "day": day}).write_parquet(folder / "t.parquet")
    model = ["--model", "MMoE", "--model.experts", "2", "--model.expert_units", "[8]", "--trainer.accelerator", "cpu"]
    data = ["--data", "TabularDataModule", "--data.root", str(folder), "--data.train", "t.parquet"]
    return [*model, *data, "--data.features", "{user: categorical}", "--data.labels", "{y: binary}"]


@pytest.mark.filterwarnings(
    "ignore:TabularDataModule. the label 'y' is 0 in every row of val:mtlzoo.datamodules.errors.DataWarning"
)
@pytest.mark.filterwarnings("ignore:val/auc_mean is not defined")
@pytest.mark.parametrize("patience", ["1", "null"])
def test_validation_of_one_class(run: Run, tmp_path: Path, patience: str) -> None:
    words = table(tmp_path / "data", 8)
    split = ["--data.split", "{kind: time, column: day, val: 8, test: 9}"]
    run("fit", *words, *split, "--patience", patience, "--trainer.max_epochs", "3")
    (best,), (last,) = (list(Path("runs").rglob(f"{name}.ckpt")) for name in ("best", "last"))
    steps = [torch.load(path, weights_only=True)["global_step"] for path in (best, last)]
    assert steps[0] == steps[1]
    assert '"best": null' in (best.parent.parent / "fit.json").read_text()
    run("test", "-c", str(best.parent.parent / "config.yaml"))


@pytest.mark.slow
def test_no_rows_of_validation(run: Run, tmp_path: Path) -> None:
    words = table(tmp_path / "data", -1)
    split = ["--data.split", "{kind: random, val: 0, test: 0.2}"]
    with pytest.raises(DataError, match=r"no rows .*limit_val_batches 0"):
        run("fit", *words, *split)
    assert not Path("runs").exists()
    run("fit", *words, *split, "--trainer.limit_val_batches", "0", "--trainer.max_epochs", "1")
    assert len(list(Path("runs").rglob("last.ckpt"))) == 1


@pytest.mark.parametrize("limit", [["--trainer.max_epochs", "-1", "--trainer.max_time", "00:00:00:02"]])
def test_a_schedule_without_an_end(options: list[str], run: Run, limit: list[str]) -> None:
    assert "Give max_epochs or max_steps" in run("fit", *options, "--model.schedule", "cosine", *limit, code=2)
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_time_limit_ends_a_training(options: list[str], run: Run) -> None:
    run("fit", *options, "--trainer.max_epochs", "-1", "--trainer.max_time", "00:00:00:01", "--patience", "null")
    assert torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)["global_step"] > 0


@pytest.mark.slow
def test_divergence_leaves_what_was_good(options: list[str], run: Run) -> None:
    run("fit", *options, "--trainer.max_epochs", "1")
    good = torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)
    for group in good["optimizer_states"][0]["parts"]:
        group["param_groups"][0]["lr"] = 1e30
    torch.save(good, "hot.ckpt")
    before = {path.name: path.read_bytes() for path in (RUN / "checkpoints").iterdir()}
    Path("hot.ckpt").replace(RUN / "checkpoints/hot.ckpt")
    words = ["fit", "-c", str(RUN / "config.yaml"), "--ckpt_path", str(RUN / "checkpoints/hot.ckpt")]
    with pytest.raises(FloatingPointError, match="not finite"):
        run(*words, "--trainer.max_epochs", "3", "--checkpoint_every", "1")
    last = torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)
    assert all(value.isfinite().all() for value in last["state_dict"].values())
    assert (RUN / "checkpoints/best.ckpt").read_bytes() == before["best.ckpt"]
