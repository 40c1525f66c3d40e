"""Data that live where the model trains give the batches, and the model, that data on the CPU give."""

from pathlib import Path

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR, DEVICE
from torch import Tensor

from mtlzoo import SharedBottom
from mtlzoo.datamodules import Synthetic
from mtlzoo.datamodules.loading import BatchLoader, device

COLUMNS = {"categorical": torch.arange(202, dtype=torch.int32, device="cpu").view(101, 2)}


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "free_memory", lambda where: 0 if where.type == "cpu" else 2**30)


def loader(shuffle: bool, where: torch.device, rank: int = 0) -> BatchLoader:
    return BatchLoader(COLUMNS, 8, shuffle=shuffle, seed=3, rank=rank, world_size=2, device=where)


@pytest.mark.usefixtures("roomy")
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_are_those_of_the_cpu(shuffle: bool) -> None:
    for rank in (0, 1):
        here, there = (loader(shuffle, where, rank) for where in (torch.device("cpu"), DEVICE))
        for _ in range(2):  # epochs
            for cut, kept in zip(here, there, strict=True):
                assert {column.device for column in kept.values()} == {DEVICE}
                assert all(torch.equal(kept[name].cpu(), column) for name, column in cut.items())
        assert here.state_dict() == there.state_dict()
        assert there.columns is COLUMNS  # which may know more than a dictionary does, such as the rows' ids


@pytest.mark.usefixtures("roomy")
@pytest.mark.parametrize("where", [torch.device("cpu"), DEVICE])
def test_columns_that_somebody_changes_are_those_of_the_batches(where: torch.device) -> None:
    """Before the first batch and after it."""
    changed = loader(False, where)
    for factor in (2, 3):
        changed.columns = {"categorical": COLUMNS["categorical"] * factor}
        first = next(iter(changed))["categorical"]
        assert torch.equal(first.cpu(), COLUMNS["categorical"][: len(first)] * factor)


def test_data_that_do_not_fit_stay_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for room, kept in ((4 * 202 * 4, True), (4 * 202 * 4 - 1, False)):
        monkeypatch.setattr(device, "free_memory", lambda _, room=room: room)
        assert device.kept_on(DEVICE, loader(False, DEVICE).columns) is kept


def trained(folder: Path) -> dict[str, Tensor]:
    torch.manual_seed(0)
    data = Synthetic(rows=400, users=30, items=20, batch_size=64, prepared=folder)
    model = SharedBottom(data.schema, embedding_dim=4, bottom_units=[8], tower_units=[])
    trainer = L.Trainer(
        max_epochs=2,
        accelerator=ACCELERATOR,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data)
    loaded = trainer.train_dataloader
    assert isinstance(loaded, BatchLoader)
    assert loaded.device.type == DEVICE.type
    kept = "cpu" if device.free_memory(DEVICE) == 0 else DEVICE.type
    assert {column.device.type for column in next(iter(loaded)).values()} == {kept}
    return {name: value.cpu() for name, value in model.state_dict().items()}


@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers:UserWarning")  # it needs none
def test_trains_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "free_memory", lambda where: 0)
    cut = trained(tmp_path)
    monkeypatch.setattr(device, "free_memory", lambda where: 0 if where.type == "cpu" else 2**30)
    for name, value in trained(tmp_path).items():
        torch.testing.assert_close(value, cut[name], rtol=0, atol=0)
