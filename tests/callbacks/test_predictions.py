"""`ParquetPredictions` with a module that is not ours."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from chosen_device import ACCELERATOR
from torch import Tensor

from mtlzoo.callbacks import ParquetPredictions, parts


class Foreign(L.LightningModule):
    """Predicts functions of the row number."""

    def predict_step(self, batch: Tensor, batch_idx: int = 0, dataloader_idx: int = 0) -> dict[str, Tensor]:
        row = batch.long()
        classes = torch.stack([row * 2, row * 3], 1).to(torch.bfloat16)
        return {"row": row, "click": row.float() / 8, "kind": classes}


class Rows:
    """Row numbers in batches, the last one short."""

    def __init__(self, start: int, stop: int, size: int = 4) -> None:
        self.batches = torch.arange(start, stop).split(size) if stop > start else ()

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.batches)


def silent(callbacks: list[L.Callback]) -> L.Trainer:
    return L.Trainer(
        accelerator=ACCELERATOR,
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=callbacks,
    )


def predict(folder: Path, rows: Rows, ids: Any = None) -> None:
    silent([ParquetPredictions(folder, ids)]).predict(Foreign(), rows, return_predictions=False)


def test_columns_are_predictions_after_ids(tmp_path: Path) -> None:
    ids = pl.DataFrame({"user": [f"u{i}" for i in range(20)], "day": range(100, 120)})
    predict(tmp_path / "out", Rows(5, 18), lambda: ids)
    table = pl.read_parquet(tmp_path / "out")
    assert table.columns == ["user", "day", "row", "click", "kind"]
    assert table["row"].to_list() == list(range(5, 18))
    assert table["user"].to_list() == [f"u{i}" for i in range(5, 18)]
    assert table["day"].to_list() == list(range(105, 118))
    assert table["click"].to_list() == [i / 8 for i in range(5, 18)]
    assert [list(pair) for pair in table["kind"]] == [[2.0 * i, 3.0 * i] for i in range(5, 18)]


@pytest.mark.parametrize("ids", [None, pl.DataFrame])
def test_without_ids(tmp_path: Path, ids: Any) -> None:
    predict(tmp_path, Rows(0, 9), ids)
    assert pl.read_parquet(tmp_path / "*.parquet").columns == ["row", "click", "kind"]


def test_rows_leave_memory_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROW_GROUP", 10)
    predict(tmp_path, Rows(0, 27))
    file = pq.ParquetFile(tmp_path / "part-00000.parquet")
    groups = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    assert sum(groups) == 27
    assert len(groups) >= 3
    assert pl.read_parquet(tmp_path)["row"].to_list() == list(range(27))


@pytest.mark.filterwarnings("ignore:Total length of `Rows`")  # that there is nothing is meant
def test_a_process_without_rows_writes_no_file(tmp_path: Path) -> None:
    predict(tmp_path, Rows(0, 0))
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_prediction_of_more_processes_is_replaced(tmp_path: Path) -> None:
    for name in ("part-00000.parquet", "part-00001.parquet", ".part-00002.parquet.0123abcd.part"):
        (tmp_path / name).write_bytes(b"old")
    (tmp_path / "notes.txt").write_text("kept")
    predict(tmp_path, Rows(0, 3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "part-00000.parquet"]


def test_a_cut_leaves_no_file_that_looks_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROW_GROUP", 4)

    def cut(self: Foreign, batch: Tensor, batch_idx: int) -> dict[str, Tensor]:
        if batch_idx == 2:
            raise KeyError("cut")
        return {"row": batch}

    monkeypatch.setattr(Foreign, "predict_step", cut)
    with pytest.raises(KeyError, match="cut"):
        predict(tmp_path, Rows(0, 20))
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_prediction_stays_until_the_next_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(tmp_path, Rows(0, 3))
    before = (tmp_path / "part-00000.parquet").read_bytes()

    def cut(*args: Any) -> Any:
        raise KeyError("cut")

    monkeypatch.setattr(Foreign, "predict_step", cut)
    with pytest.raises(KeyError, match="cut"):
        predict(tmp_path, Rows(0, 20))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_a_folder_that_is_a_link_keeps_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/part-00000.parquet").write_text("precious")
    (tmp_path / "predictions").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="is a link to"):
        predict(tmp_path / "predictions", Rows(0, 3))
    assert [path.read_text() for path in (tmp_path / "precious").iterdir()] == ["precious"]


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\['click'\] are both identifying columns and predictions"):
        predict(tmp_path, Rows(0, 3), lambda: pl.DataFrame({"click": [1, 2, 3]}))


class Loud(L.Callback):
    """Fails where others would tidy up after an error."""

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        raise OSError("no space for the report")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("others", [[], [Loud()]], ids=["alone", "unheard"])
@pytest.mark.parametrize("written", [4, 1000])
def test_a_predict_after_a_cut_one_has_its_own_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], others: list[Any], written: int
) -> None:
    monkeypatch.setattr(parts, "ROW_GROUP", written)
    before = signal.getsignal(signal.SIGINT)
    callback = ParquetPredictions(tmp_path)

    class Cut(Foreign):
        def predict_step(self, batch: Tensor, batch_idx: int = 0, dataloader_idx: int = 0) -> dict[str, Tensor]:
            if batch_idx == 2:
                raise error("cut")
            return super().predict_step(batch)

    with pytest.raises((error, SystemExit, OSError)):
        silent([*others, callback]).predict(Cut(), Rows(0, 20), return_predictions=False)
    signal.signal(signal.SIGINT, before)  # Lightning turns Ctrl-C off
    silent([callback]).predict(Foreign(), Rows(5, 12), return_predictions=False)
    assert pl.read_parquet(tmp_path)["row"].to_list() == list(range(5, 12))
    assert [path.name for path in tmp_path.iterdir()] == ["part-00000.parquet"]


def test_rows_of_several_dataloaders_are_told_apart(tmp_path: Path) -> None:
    silent([ParquetPredictions(tmp_path)]).predict(Foreign(), [Rows(0, 5), Rows(0, 3)], return_predictions=False)
    table = pl.read_parquet(tmp_path)
    assert table.columns == ["dataloader", "row", "click", "kind"]
    assert table["dataloader"].to_list() == [0] * 5 + [1] * 3
    assert table["row"].to_list() == [*range(5), *range(3)]


def test_a_prediction_named_like_the_column_of_dataloaders_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Foreign, "predict_step", lambda self, batch, batch_idx, dataloader_idx=0: {"dataloader": batch})
    with pytest.raises(ValueError, match="a prediction is called 'dataloader'"):
        silent([ParquetPredictions(tmp_path)]).predict(Foreign(), [Rows(0, 5)] * 2, return_predictions=False)
    predict(tmp_path, Rows(0, 5))
    assert pl.read_parquet(tmp_path).columns == ["dataloader"]


def test_ids_are_those_of_one_dataloader(tmp_path: Path) -> None:
    writer = ParquetPredictions(tmp_path, lambda: pl.DataFrame({"user": range(9)}))
    with pytest.raises(ValueError, match="ids= names the rows of one dataloader, and there are 2"):
        silent([writer]).predict(Foreign(), [Rows(0, 5), Rows(0, 3)], return_predictions=False)


def test_replacing_what_it_wrote_itself_is_said(tmp_path: Path) -> None:
    writer = ParquetPredictions(tmp_path)
    silent([writer]).predict(Foreign(), Rows(0, 5), return_predictions=False)
    with pytest.warns(UserWarning, match="replaces the predictions that it wrote to"):
        silent([writer]).predict(Foreign(), Rows(7, 9), return_predictions=False)
    assert pl.read_parquet(tmp_path)["row"].to_list() == [7, 8]
