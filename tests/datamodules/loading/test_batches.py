"""The loader: every row once, one global order for any number of processes, exact resume."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor

from mtlzoo import SharedBottom
from mtlzoo.datamodules import Synthetic
from mtlzoo.datamodules.loading import BatchLoader
from mtlzoo.datamodules.loading import batches as module
from mtlzoo.datamodules.loading.batches import default_batch_size
from mtlzoo.datamodules.loading.draws import BatchDraws
from mtlzoo.datamodules.loading.ranking import DrawingLoader, UserLoader
from mtlzoo.datamodules.prepare.lists import Lists


def columns(rows: int) -> dict[str, Tensor]:
    ids = torch.arange(rows, dtype=torch.int32)
    return {"categorical": torch.stack([ids, ids * 2], 1), "labels": ids.float().unsqueeze(1)}


def rows_of(loader: BatchLoader) -> list[list[int]]:
    return [batch["row"].tolist() for batch in loader]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(
    ("rows", "batch_size", "world_size"), [(100, 8, 1), (101, 8, 2), (7, 8, 3), (1, 4, 2), (64, 8, 2), (97, 5, 3)]
)
def test_every_row_exactly_once(rows: int, batch_size: int, world_size: int, shuffle: bool) -> None:
    loaders = [
        BatchLoader(columns(rows), batch_size, shuffle=shuffle, seed=3, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    seen = [rows_of(loader) for loader in loaders]
    assert sorted(itertools.chain(*itertools.chain(*seen))) == list(range(rows))
    assert [len(batches) for batches in seen] == [len(loader) for loader in loaders]
    assert len(set(map(len, loaders))) == 1, "all processes take the same number of steps"


def test_batches_hold_the_rows_they_name() -> None:
    for shuffle in (False, True):
        for batch in BatchLoader(columns(50), 8, shuffle=shuffle):
            assert batch["categorical"][:, 1].tolist() == (batch["row"] * 2).tolist()
            assert batch["labels"].shape == (len(batch["row"]), 1)


def test_processes_together_see_the_batches_of_one() -> None:
    one = BatchLoader(columns(103), 12, shuffle=True, seed=5)
    ranks = [BatchLoader(columns(103), 4, shuffle=True, seed=5, rank=r, world_size=3) for r in range(3)]
    for epoch in range(2):
        for loader in (one, *ranks):
            loader.set_epoch(epoch)
        for whole, *parts in zip(rows_of(one), *map(rows_of, ranks), strict=True):
            assert whole == list(itertools.chain(*parts))


def test_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        loader = BatchLoader(columns(60), 7, shuffle=True, seed=seed)
        loader.set_epoch(epoch)
        return rows_of(loader)

    assert order(0, 0) == order(0, 0)
    orders = [order(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert all(a != b for a, b in itertools.combinations(orders, 2))


def test_counts_epochs_when_nobody_sets_them() -> None:
    loader = BatchLoader(columns(60), 7, shuffle=True)
    first, second = rows_of(loader), rows_of(loader)
    again = BatchLoader(columns(60), 7, shuffle=True)
    again.set_epoch(1)
    assert first != second == rows_of(again)


@pytest.mark.parametrize("shuffle", [False, True])
def test_resumes_in_the_middle_of_an_epoch(shuffle: bool) -> None:
    loader = BatchLoader(columns(60), 7, shuffle=shuffle, seed=1)
    loader.set_epoch(4)
    batches: Iterator[dict[str, Tensor]] = iter(loader)
    for _ in range(3):
        next(batches)
    state = loader.state_dict()
    rest = [batch["row"].tolist() for batch in batches]
    resumed = BatchLoader(columns(60), 7, shuffle=shuffle, seed=1)
    resumed.load_state_dict(state)
    iterator = iter(resumed)  # Lightning makes the iterator first and tells the epoch then
    resumed.set_epoch(4)
    assert [batch["row"].tolist() for batch in iterator] == rest


def test_state_of_a_finished_epoch_does_not_shorten_the_next() -> None:
    loader = BatchLoader(columns(60), 7, shuffle=True)
    batches = iter(loader)
    for _ in range(len(loader)):
        next(batches)
    resumed = BatchLoader(columns(60), 7, shuffle=True)
    resumed.load_state_dict(loader.state_dict())
    resumed.set_epoch(1)
    assert len(rows_of(resumed)) == len(loader)


def test_refuses_a_state_of_other_data() -> None:
    state = BatchLoader(columns(60), 7, shuffle=True).state_dict()
    with pytest.raises(ValueError, match=r"'rows': 60.*'rows': 61"):
        BatchLoader(columns(61), 7, shuffle=True).load_state_dict(state)


@pytest.mark.parametrize("start", [0, 5, 20])
def test_larger_data_are_shuffled_by_windows(monkeypatch: pytest.MonkeyPatch, start: int) -> None:
    monkeypatch.setattr(module, "WINDOW", 32)
    monkeypatch.setattr(module, "CHUNK", 4)
    loader = BatchLoader(columns(203), 10, shuffle=True, seed=2)
    order = rows_of(loader)
    assert sorted(itertools.chain(*order)) == list(range(203))
    assert [len(batch) for batch in order] == [10] * 20 + [3]
    # Neighbours end up all over the epoch, not in one window.
    position = {row: i for i, row in enumerate(itertools.chain(*order))}
    assert max(position[r] for r in range(40)) - min(position[r] for r in range(40)) > 60
    resumed = BatchLoader(columns(203), 10, shuffle=True, seed=2)
    resumed.load_state_dict({"epoch": 0, "batch": start, "order": loader.state_dict()["order"]})
    assert rows_of(resumed) == order[start:]


def test_unshuffled_batches_are_views() -> None:
    data = columns(20)
    batch = next(iter(BatchLoader(data, 5)))
    assert batch["categorical"].data_ptr() == data["categorical"].data_ptr()


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"rank": 2, "world_size": 2}])
def test_refuses_impossible_arguments(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="BatchLoader"):
        BatchLoader(columns(5), **{"batch_size": 1, **wrong})


@pytest.mark.parametrize(
    ("rows", "size"),
    [
        *[(1, 32), (255, 32), (8_191, 32), (16_383, 32), (16_384, 64), (32_767, 64), (32_768, 128), (80_000, 256)],
        *[(1_048_575, 2048), (1_048_576, 4096), (10**9, 4096)],
    ],
)
def test_batch_size_that_nobody_chose_gives_an_epoch_steps_enough(rows: int, size: int) -> None:
    assert default_batch_size(rows) == size


def test_data_module_chooses_the_size_of_a_batch_by_its_rows() -> None:
    data = Synthetic(rows=10_000)
    train = data.train_dataloader()
    assert (train.batch_size, len(train), data.val_dataloader().batch_size) == (32, 250, 4096)
    data = Synthetic(rows=10_000, batch_size=512)
    assert (data.train_dataloader().batch_size, data.val_dataloader().batch_size) == (512, 512)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_users_of_a_process_that_has_none(rows: int) -> None:
    relevant = Lists.of(np.arange(rows, dtype=np.int32), np.ones(rows, np.int32), rows)
    loaders = [UserLoader(relevant, relevant, 4, rank, 3) for rank in range(3)]
    batches = [list(loader) for loader in loaders]
    assert [len(one) for one in batches] == [1, 1, 1] == [len(loader) for loader in loaders]
    assert sorted(torch.cat([batch["user"] for one in batches for batch in one]).tolist()) == list(range(rows))


def test_one_long_list_makes_no_batch_of_users_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtlzoo.datamodules.loading.ranking.PADDED", 100)
    owners = np.concatenate([np.arange(10), np.full(30, 4)])
    seen = Lists.of(owners.astype(np.int32), np.arange(40, dtype=np.int32), 10)
    relevant = Lists.of(np.arange(10, dtype=np.int32), np.ones(10, np.int32), 10)
    loaders = [UserLoader(relevant, seen, 8, rank, 2) for rank in range(2)]
    batches = [list(loader) for loader in loaders]
    assert {batch["seen"].numel() for one in batches for batch in one if len(batch["user"])} <= set(range(101))
    assert [len(one) for one in batches] == [2, 2] == [len(loader) for loader in loaders]
    assert torch.cat([batch["user"] for one in batches for batch in one]).tolist() == list(range(10))


class Rows(L.Callback):
    """The rows of every batch of train, by epoch."""

    def __init__(self) -> None:
        self.seen: dict[int, list[int]] = {}

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, index: int) -> None:
        self.seen.setdefault(trainer.current_epoch, []).extend(batch["row"].tolist())


def test_overfitting_takes_the_first_rows_in_every_epoch(tmp_path: Path) -> None:
    data = Synthetic(rows=1000, users=100, items=100, batch_size=32, prepared=tmp_path)
    rows = Rows()
    trainer = L.Trainer(
        max_epochs=3,
        overfit_batches=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        callbacks=[rows],
    )
    trainer.fit(SharedBottom(data.schema), data)
    assert rows.seen == {epoch: list(range(64)) for epoch in range(3)}


def test_draws_in_order_are_those_of_the_same_rows() -> None:
    """`DrawingLoader` in order, as overfitting takes it: all rows once, each with its draws."""
    rows = columns(50)
    draws = BatchDraws(Lists.of(np.arange(60), np.ones(60, np.int32), 60), 200, 2, {}, "interactions", 0, 0)
    loaders = [DrawingLoader(draws, rows, 8, rank=rank, world_size=2) for rank in range(2)]
    batches = [list(loader) for loader in loaders]
    assert [len(one) for one in batches] == list(map(len, loaders))
    assert sorted(row for one in batches for batch in one for row in batch["row"].tolist()) == list(range(50))
    assert all(set(batch) > {"row", "categorical", "labels"} for one in batches for batch in one)


def test_rows_in_order_go_on_after_a_whole_epoch() -> None:
    """A checkpoint of the last batch belongs to an epoch that is over; Lightning tells the sampler the next one."""
    loader = BatchLoader({"x": torch.arange(6)}, 2)
    batches = iter(loader)
    for _ in range(3):
        next(batches)
    again = BatchLoader({"x": torch.arange(6)}, 2)
    again.load_state_dict(loader.state_dict())
    again.sampler.set_epoch(1)  # type: ignore[union-attr]
    assert len(list(again)) == 3
