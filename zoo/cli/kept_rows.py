"""`KeptRows`: what a test saw and what the model said, row by row, for whoever counts by users."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import pyarrow as pa
from torch import Tensor

from mtlzoo.callbacks.parts import FILES, Parts, column
from mtlzoo.compare.results import TESTED
from mtlzoo.module import MultiTaskModule
from mtlzoo.schema import Batch
from mtlzoo.tasks import VECTOR_KINDS

OWN = ("row", "user", "weight")
"""Columns that no task may be called."""


class KeptRows(L.Callback):
    """Keeps the rows of a test in ``tested/part-<rank>.parquet``, in place of those of an earlier test.

    The columns are those of `mtlzoo.compare.results.Result.rows`. Where none are kept, those of an earlier test go:
    results.json is no longer theirs.

    Args:
        folder: Run folder.
        most: Rows of test up to which they are kept; 0 keeps none.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self.folder = folder / TESTED
        self.most = most
        self._parts: Parts | None = None

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Opens the folder, or says why nothing is kept.

        Raises:
            ValueError: A task is called like a column of ours.
            OSError: The folder is a link, or can't be made.
        """
        if not self.most:
            return
        assert isinstance(pl_module, MultiTaskModule)
        if why := self._refused(trainer, pl_module):
            if trainer.is_global_zero:
                print(f"--keep_rows {self.most}: no rows are kept; {why}")
            return
        if taken := sorted(set(OWN) & set(pl_module.task_names)):
            raise ValueError(f"--keep_rows: {taken} are tasks, and columns beside them. Rename the tasks.")
        self._parts = Parts(trainer, self.folder)

    def _refused(self, trainer: L.Trainer, module: MultiTaskModule) -> str:
        if any(task.kind in VECTOR_KINDS for task in module.schema.tasks):
            return f"{type(module).__name__} ranks items for users here, and tests no rows."
        loader: Any = trainer.test_dataloaders
        return f"test has {loader.rows:,}." if loader.rows > self.most else ""

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Adds a batch.

        Raises:
            ValueError: The model is somebody's own, and its `test_step` returns nothing to keep.
        """
        if self._parts is not None:
            assert isinstance(pl_module, MultiTaskModule)
            if not isinstance(outputs, Mapping):
                name = type(pl_module).__name__
                raise ValueError(f"--keep_rows: test_step of {name} returns no logits. Return what `forward` gave.")
            columns = row_columns(pl_module, outputs, batch)
            self._parts.add(pa.table({name: column(values) for name, values in columns.items()}))

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Completes the file."""
        if self._parts is not None:
            self._parts.complete()
            self._parts = None
        elif trainer.is_global_zero and not self.folder.is_symlink():
            for old in self.folder.glob(FILES):
                old.unlink()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Takes away what is not complete."""
        if self._parts is not None:
            self._parts.abandon(exception)
            self._parts = None


def row_columns(module: MultiTaskModule, logits: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """Columns of the rows of a batch.

    Args:
        module: The model.
        logits: What its `test_step` returned.
        batch: The batch.
    """
    columns = {"row": batch["row"]}
    columns |= {name: batch[key] for name, key in (("user", "group"), ("weight", "weight")) if key in batch}
    for task, places in module.schema.label_columns:
        output, labels = logits[task.name], batch["labels"][:, places]
        output = output.reshape(-1) if task.outputs == 1 else output
        columns[task.name] = task.predict(output) if task.kind == "regression" else output
        columns[f"label:{task.name}"] = labels if task.kind == "multilabel" else labels.squeeze(1)
    return columns
