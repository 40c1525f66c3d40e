"""`ParquetPredictions`: predictions to Parquet, one file per process, never all of them in memory."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import lightning as L
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from mtlzoo.callbacks.atomic import PARTS, own_folder, whole_file
from mtlzoo.callbacks.described import described

ROW_GROUP = 2**17
"""Rows that are held back and written together."""


class ParquetPredictions(L.Callback):
    """Writes what `predict_step` returns to ``<folder>/part-<rank>.parquet``, which readers take as one table.

    Works with any module whose `predict_step` returns a mapping of column name to tensor: [B] becomes a column of
    numbers, [B, K] one of lists. With `ids`, the module must also return ``row``, the position of each row in `ids`;
    the identifying columns then stand in front. Where there are several dataloaders, a column ``dataloader`` says which
    one a row is of. Files appear under their names when they are complete, and then take the place of an earlier
    prediction as a whole. Nothing is written or removed where the folder is a link.

    Args:
        folder: Folder of the parts.
        ids: Called when prediction starts; returns the raw identifying columns of all rows of the one dataloader: a
            frame of polars, or anything else that `pyarrow.table` takes.
    """

    __repr__ = described

    def __init__(self, folder: str | Path, ids: Callable[[], Any] | None = None) -> None:
        self.folder = Path(folder)
        self.ids = ids
        self._table: pa.Table | None = None
        self._writer: pq.ParquetWriter | None = None
        self._file = ExitStack()
        self._held: list[pa.Table] = []
        self._several = False
        self._wrote = False

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Agrees on the folder, and opens the ids; earlier predictions stay until these are complete.

        Raises:
            ValueError: Ids of one dataloader, and several.
            OSError: The folder is a link, or can't be made.
        """
        self._abandon(None)  # another callback's error may have kept from us that a former prediction was cut
        self._several = len(trainer.num_predict_batches) > 1
        if self._several and self.ids is not None:
            raise ValueError(
                f"ParquetPredictions: ids= names the rows of one dataloader, and there are "
                f"{len(trainer.num_predict_batches)}. Predict one at a time, each to a folder of its own."
            )
        if self._wrote:
            rank_zero_warn(
                f"ParquetPredictions replaces the predictions that it wrote to {self.folder} before. To keep both, "
                "give each a callback with a folder of its own."
            )
        self.folder = trainer.strategy.broadcast(self.folder)
        refused = trainer.strategy.broadcast(self._opened() if trainer.is_global_zero else None)
        if refused is not None:
            raise refused  # on all processes: the others would wait for the first
        self._path = self.folder / f"part-{trainer.global_rank:05d}.parquet"
        if self.ids is not None:
            ids = pa.table(self.ids())
            # Frames of polars come with a type of text that `take` does not know.
            text = {f.name: pa.large_string() for f in ids.schema if pa.types.is_string_view(f.type)}
            ids = ids.cast(pa.schema([f.with_type(text.get(f.name, f.type)) for f in ids.schema]))
            self._table = ids if ids.num_columns else None

    def _opened(self) -> OSError | None:
        """Makes the folder ready, or says why it can't be."""
        try:
            own_folder(self.folder)
            for left in self.folder.glob(PARTS):
                left.unlink()  # of a process that was killed
        except OSError as error:
            return error
        return None

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Mapping[str, Tensor],
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Adds a batch.

        Raises:
            ValueError: A prediction has the name of an identifying column, or of that of the dataloaders.
        """
        columns = {name: _column(values) for name, values in outputs.items()}
        if self._table is not None:
            taken = self._table.take(columns["row"])
            # Where the row is from, if that is known, in place of where it lies among those predicted.
            own = {"row": taken["row"]} if "row" in taken.column_names else {}
            if both := sorted(set(taken.column_names) & set(columns) - set(own)):
                raise ValueError(
                    f"ParquetPredictions: {both} are both identifying columns and predictions; rename one."
                )
            columns = dict(zip(taken.column_names, taken.columns, strict=True)) | columns | own
        table = pa.table(columns)
        if self._several:
            if "dataloader" in columns:
                raise ValueError(
                    "ParquetPredictions: a prediction is called 'dataloader', as the column that says which of several "
                    "dataloaders a row is of; rename it."
                )
            table = table.add_column(0, "dataloader", pa.repeat(dataloader_idx, len(table)))
        self._held.append(table)
        if sum(table.num_rows for table in self._held) >= ROW_GROUP:
            self._write()

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Completes the file, in place of an earlier one; a process that had no row writes none."""
        self._write()
        if self._writer is not None:
            self._writer.close()  # what the disk does not take, it refuses before any process has replaced its file
        trainer.strategy.barrier()
        if self._writer is None:
            self._path.unlink(missing_ok=True)
        self._file.close()
        self._writer, self._table, self._wrote = None, None, True
        trainer.strategy.barrier()
        for old in self.folder.glob("part-*.parquet") if trainer.is_global_zero else []:
            if old.name >= f"part-{trainer.world_size:05d}":
                old.unlink()  # of more processes than now

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Takes away what is not complete."""
        self._abandon(exception)

    def _abandon(self, error: BaseException | None) -> None:
        self._held, self._writer, self._table = [], None, None
        error = error or RuntimeError("cut")
        with suppress(Exception):  # the first error counts: a disk that is full is so for the end of the file, too
            self._file.__exit__(type(error), error, error.__traceback__)

    def _write(self) -> None:
        rows = [table for table in self._held if table.num_rows]
        self._held = []
        if not rows:
            return
        table = pa.concat_tables(rows).combine_chunks()
        if self._writer is None:
            file = self._file.enter_context(whole_file(self._path))
            self._writer = self._file.enter_context(pq.ParquetWriter(file, table.schema))
        self._writer.write_table(table, row_group_size=ROW_GROUP)


def _column(values: Tensor) -> pa.Array:
    numbers = values.detach().cpu()
    if numbers.dtype in (torch.float16, torch.bfloat16):
        numbers = numbers.float()
    flat = pa.array(numbers.flatten().numpy())
    return flat if numbers.dim() == 1 else pa.FixedSizeListArray.from_arrays(flat, numbers.shape[1])
