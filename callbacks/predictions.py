"""`ParquetPredictions`: predictions to Parquet, one file per process, never all of them in memory."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import pyarrow as pa
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from mtlzoo.callbacks.described import described
from mtlzoo.callbacks.parts import Parts, column


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
        self._parts: Parts | None = None
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
        self._parts = Parts(trainer, self.folder)
        self.folder = self._parts.folder
        if self.ids is not None:
            ids = pa.table(self.ids())
            # Frames of polars come with a type of text that `take` does not know.
            text = {f.name: pa.large_string() for f in ids.schema if pa.types.is_string_view(f.type)}
            ids = ids.cast(pa.schema([f.with_type(text.get(f.name, f.type)) for f in ids.schema]))
            self._table = ids if ids.num_columns else None

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
        columns = {name: column(values) for name, values in outputs.items()}
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
        assert self._parts is not None
        self._parts.add(table)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Completes the file, in place of an earlier one; a process that had no row writes none."""
        if self._parts is not None:
            self._parts.complete()
        self._parts, self._table, self._wrote = None, None, True

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Takes away what is not complete."""
        self._abandon(exception)

    def _abandon(self, error: BaseException | None) -> None:
        self._table = None
        if self._parts is not None:
            self._parts.abandon(error)
            self._parts = None
