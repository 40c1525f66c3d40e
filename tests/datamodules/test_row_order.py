"""Which seed the order of rows has: its own, that of the training, or that of the checkpoint."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

from fixtures.lastfm import write_lastfm
from mtlzoo.datamodules import LastFM, MultiTaskDataModule, Synthetic

pytestmark = pytest.mark.filterwarnings("ignore:You passed in a `val_dataloader`")


class Rows(L.LightningModule):
    """Notes the rows of every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[list[int]] = []

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        self.seen.append(batch["row"].tolist())
        return self.weight * 0.0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture(autouse=True)
def _nobody_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)


def small(prepared: Path, **options: Any) -> Synthetic:
    return Synthetic(rows=600, users=20, items=20, prepared=prepared, batch_size=64, **options)


def fit(data: MultiTaskDataModule, epochs: int = 1, checkpoint: Path | None = None, save: Path | None = None) -> Rows:
    module = Rows()
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    if save:
        trainer.save_checkpoint(save)
    return module


def test_the_order_follows_the_seed_of_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unseeded = fit(small(tmp_path)).seen
    assert unseeded == fit(small(tmp_path, shuffle_seed=0)).seen
    data = small(tmp_path)
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")  # what seed_everything(3) does, and the test's own seed stays
    assert fit(data).seen == fit(small(tmp_path, shuffle_seed=3)).seen != unseeded
    monkeypatch.setenv("PL_GLOBAL_SEED", "4")
    assert fit(data).seen == fit(small(tmp_path, shuffle_seed=4)).seen  # the seed of this training, not of the last
    assert fit(small(tmp_path, shuffle_seed=0)).seen == unseeded


def test_draws_follow_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_lastfm(tmp_path / "raw")

    def drawn(**options: Any) -> list[int]:
        data = LastFM(root, prepared=tmp_path / "prepared", batch_size=512, **options)
        ids: list[int] = next(iter(data.train_dataloader()))["negative"].flatten().tolist()
        return ids

    assert drawn() == drawn(shuffle_seed=0)
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    assert drawn() == drawn(shuffle_seed=3) != drawn(shuffle_seed=0)


@pytest.mark.parametrize("process", [None, "5"])
def test_a_resumed_training_goes_on_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process: str | None
) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    whole = fit(small(tmp_path), 2).seen
    first = fit(small(tmp_path), 1, save=tmp_path / "last.ckpt").seen
    monkeypatch.delenv("PL_GLOBAL_SEED")
    if process is not None:
        monkeypatch.setenv("PL_GLOBAL_SEED", process)
    data = small(tmp_path)
    assert first + fit(data, 2, tmp_path / "last.ckpt").seen == whole
    assert fit(data, 1).seen == fit(small(tmp_path, shuffle_seed=int(process or 0)), 1).seen  # begins anew


def test_an_order_that_was_asked_for_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also over a checkpoint of another, as in runs of former versions, whose configs hold a seed."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    whole = fit(small(tmp_path, shuffle_seed=0), 2).seen
    fit(small(tmp_path), 1, save=tmp_path / "last.ckpt")
    assert fit(small(tmp_path, shuffle_seed=0), 2, tmp_path / "last.ckpt").seen == whole[len(whole) // 2 :]


def test_all_processes_take_the_order_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else rows would be seen twice, and others never, where processes are seeded one by one."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    data = small(tmp_path)

    class Strategy:
        root_device = torch.device("cpu")

        def broadcast(self, seed: int) -> int:
            assert seed == 7
            return 3

    class Process:
        strategy, limit_val_batches, overfit_batches, global_rank, world_size = Strategy(), 0, 0, 1, 2

    data.trainer = Process()  # type: ignore[assignment]
    data.setup("fit")
    assert data.train_dataloader().seed == 3
