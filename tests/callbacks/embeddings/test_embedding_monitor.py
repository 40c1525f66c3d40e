"""`EmbeddingMonitor` against numpy's singular values, on modules that are not ours, and the files it writes."""

import csv
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from chosen_device import ACCELERATOR, DEVICE
from lightning.pytorch.callbacks import ModelCheckpoint
from recorder import Gallery, Recorder
from torch import Tensor, nn

from mtlzoo.callbacks import EmbeddingMonitor
from mtlzoo.callbacks.embeddings import tables
from mtlzoo.callbacks.embeddings.shape import shape_of
from mtlzoo.callbacks.embeddings.tables import rows_of_table, tables_of
from mtlzoo.datamodules.loading import BatchLoader


class Tables(L.LightningModule):
    """A table with padding, a sparse one, a bag, and one that two parts share."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.padded = nn.Embedding(20, 4, padding_idx=3)
        self.frequent = nn.Embedding(20, 4, sparse=True)
        self.bag = nn.EmbeddingBag(15, 3, mode="sum", padding_idx=-1)
        self.shared = nn.ModuleDict({"one": nn.Embedding(20, 4), "other": nn.Embedding(20, 4)})
        self.shared["other"].weight = self.shared["one"].weight

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        ids = batch["ids"]
        parts = [self.padded(ids), self.frequent(ids), self.shared["one"](ids), self.shared["other"](ids.flip(0))]
        loss: Tensor = (torch.stack(parts).sum() - self.bag(ids.remainder(15)).sum()).square() / 1000
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def columns() -> dict[str, Tensor]:
    return {"ids": torch.randint(0, 20, (40, 2), generator=torch.Generator().manual_seed(0))}


def fit(folder: Path, *callbacks: L.Callback, module: Any = None, **options: Any) -> L.Trainer:
    loader: Any = BatchLoader(columns(), 8)
    defaults: dict[str, Any] = {
        "max_epochs": 2,
        "accelerator": ACCELERATOR,
        "devices": 1,
        "default_root_dir": folder,
        "logger": False,
        "log_every_n_steps": 1,
        **dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
    }
    checkpoint = options.pop("ckpt_path", None)
    trainer = L.Trainer(**(defaults | options), callbacks=list(callbacks))
    trainer.fit(Tables() if module is None else module, loader, ckpt_path=checkpoint, weights_only=True)
    return trainer


def by_numpy(rows: Any) -> tuple[float, float, float]:
    values = np.asarray(rows, dtype=np.float64)
    singular = np.linalg.svd(values, compute_uv=False)
    shares = singular / singular.sum()
    shares = shares[shares > 0]
    rank = np.exp(-(shares * np.log(shares)).sum())
    return float(np.linalg.norm(values, axis=1).mean()), float(rank), float((singular**2).max() / (singular**2).sum())


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


# ---- shapes


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [(100, 8), (3, 8)])
def test_shapes_are_those_of_numpy(dtype: torch.dtype, size: tuple[int, int]) -> None:
    rows = (torch.randn(size, generator=torch.Generator().manual_seed(1)) * torch.arange(1.0, 9.0)).to(dtype)
    shape = shape_of(rows.to(DEVICE))
    assert tuple(shape) == pytest.approx(by_numpy(rows.double().cpu()), rel=1e-6)


def test_the_ends_of_both_measures() -> None:
    even = shape_of(torch.eye(6, device=DEVICE))
    assert tuple(even) == pytest.approx((1.0, 6.0, 1 / 6))
    line = shape_of(torch.arange(1.0, 9.0, device=DEVICE).unsqueeze(1) * torch.tensor([3.0, 4.0], device=DEVICE))
    assert line.collapse == pytest.approx(1.0)
    assert line.effective_rank == pytest.approx(1.0, abs=1e-5)
    assert line.norm == pytest.approx(5 * 4.5)
    nothing = shape_of(torch.zeros(5, 3, device=DEVICE))
    assert nothing.norm == 0.0
    assert nothing.collapse != nothing.collapse
    assert nothing.effective_rank != nothing.effective_rank


def test_scale_does_not_matter() -> None:
    rows = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one, other = shape_of(rows), shape_of(rows * 1e-30)
    assert one[1:] == pytest.approx(other[1:], rel=1e-9)


# ---- tables


def test_each_weight_is_a_table_once_without_its_padding() -> None:
    module = Tables()
    found = tables_of(module)
    assert list(found) == ["padded", "frequent", "bag", "shared.one"]
    kept = torch.tensor([row for row in range(20) if row != 3], device=module.padded.weight.device)
    assert rows_of_table(module, found["padded"]).equal(module.padded.weight[kept])
    assert rows_of_table(module, found["bag"]).equal(module.bag.weight[:14])


def test_parts_of_one_weight(tmp_path: Path) -> None:
    """As its module says; where several do, their names or those of the tasks stand before."""

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(9, 2)

        def embedding_tables(self) -> dict[str, Any]:
            return {"user": ("table.weight", 0, 4, 0), "item": ("table.weight", 4, 9, 4)}

    module = nn.Module()
    module.wide = Wide()
    assert list(tables_of(module)) == ["user", "item"]
    assert rows_of_table(module, tables_of(module)["item"]).equal(module.wide.table.weight[5:9])
    module.sets, module.task_names = nn.ModuleList([Wide(), Wide()]), ["click", "like"]  # type: ignore[assignment]
    module.plain = nn.Embedding(3, 2)
    names = [f"{prefix}.{name}" for prefix in ("wide", "click", "like") for name in ("user", "item")]
    assert list(tables_of(module)) == [*names, "plain"]


def test_of_a_large_table_some_rows_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROWS", 5)
    module = nn.Module()
    module.table = nn.Embedding(20, 2, padding_idx=0)
    rows = rows_of_table(module, tables_of(module)["table"])
    assert rows.equal(module.table.weight[[4, 8, 12, 16]])


# ---- the callback


def test_logs_the_start_and_every_epoch(tmp_path: Path) -> None:
    recorder, module = Recorder(), Tables()
    found_tables = tables_of(module)
    start = {name: by_numpy(rows_of_table(module, table).cpu()) for name, table in found_tables.items()}
    trainer = fit(tmp_path, EmbeddingMonitor(), module=module, logger=recorder)
    logged = recorder.of("embeddings/")
    assert [step for step, _ in logged] == [0, 4, 9]
    end = {name: by_numpy(rows_of_table(module, table).cpu()) for name, table in found_tables.items()}
    for values, wanted in ((logged[0][1], start), (logged[2][1], end)):
        assert len(values) == 12
        for name, shape in wanted.items():
            found = [values[f"embeddings/{name}/{measure}"] for measure in ("norm", "effective_rank", "collapse")]
            assert found == pytest.approx(shape, rel=1e-5)
    last = float(trainer.callback_metrics["embeddings/bag/norm"])
    assert last == pytest.approx(logged[2][1]["embeddings/bag/norm"])
    table = rows_of(tmp_path / "embeddings.csv")
    assert table[0] == ["step", "table", "norm", "effective_rank", "collapse"]
    assert [row[:2] for row in table[5:9]] == [["4", "padded"], ["4", "frequent"], ["4", "bag"], ["4", "shared.one"]]
    assert (tmp_path / "embeddings.png").read_bytes().startswith(b"\x89PNG")


def test_an_epoch_that_is_cut_short_is_logged_too(tmp_path: Path) -> None:
    recorder = Recorder()
    fit(tmp_path, EmbeddingMonitor(), logger=recorder, max_steps=7)
    assert [step for step, _ in recorder.of("embeddings/")] == [0, 4, 6]


def test_loggers_that_take_pictures_and_tables_get_them(tmp_path: Path) -> None:
    gallery = Gallery()
    fit(tmp_path, EmbeddingMonitor(), logger=gallery)
    ((key, _, (picture,)),) = gallery.images
    assert key == "embeddings/shapes"
    assert picture.std() > 0
    ((key, names, data),) = gallery.tables
    assert (key, names, len(data)) == (
        "embeddings/table",
        ["step", "table", "norm", "effective_rank", "collapse"],
        12,
    )
    assert not list(tmp_path.glob("**/*.png"))


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")
def test_a_resumed_run_goes_on_with_its_table(tmp_path: Path) -> None:
    def train(**options: Any) -> None:
        save = ModelCheckpoint(tmp_path / "saved", filename="{step}", every_n_train_steps=1, save_top_k=-1)
        fit(tmp_path, EmbeddingMonitor(), save, enable_checkpointing=True, **options)

    train()
    wanted, picture = rows_of(tmp_path / "embeddings.csv"), (tmp_path / "embeddings.png").read_bytes()
    for step in (3, 5, 8):
        train(ckpt_path=tmp_path / f"saved/step={step}.ckpt")
        assert rows_of(tmp_path / "embeddings.csv") == wanted
        assert (tmp_path / "embeddings.png").read_bytes() == picture
    train()
    assert rows_of(tmp_path / "embeddings.csv") == wanted  # a new run begins a new table


def test_a_module_without_tables_is_refused(tmp_path: Path) -> None:
    class Dense(Tables):
        def __init__(self) -> None:
            L.LightningModule.__init__(self)
            self.layer = nn.Linear(2, 1)

    with pytest.raises(ValueError, match=r"Dense has no nn\.Embedding or nn\.EmbeddingBag"):
        fit(tmp_path, EmbeddingMonitor(), module=Dense())
