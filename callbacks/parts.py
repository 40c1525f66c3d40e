"""Columns to Parquet, one file per process, which readers take as one table; never all of them in memory."""

from contextlib import ExitStack, suppress
from pathlib import Path

import lightning as L
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from mtlzoo.callbacks.atomic import PARTS, own_folder, whole_file

ROW_GROUP = 2**17
"""Rows that are held back and written together."""
FILES = "part-*.parquet"
"""Pattern of the files of a folder."""


class Parts:
    """Writes ``<folder>/part-<rank>.parquet``, batch by batch; all processes make and complete theirs together.

    Files appear under their names when they are complete, and then take the place of earlier ones as a whole. Nothing
    is written or removed where the folder is a link.

    Args:
        trainer: Whose processes write.
        folder: The folder; the first process's counts.

    Raises:
        OSError: The folder is a link, or can't be made.
    """

    def __init__(self, trainer: L.Trainer, folder: Path) -> None:
        self.folder: Path = trainer.strategy.broadcast(folder)
        refused = trainer.strategy.broadcast(_opened(self.folder) if trainer.is_global_zero else None)
        if refused is not None:
            raise refused  # on all processes: the others would wait for the first
        self._path = self.folder / f"part-{trainer.global_rank:05d}.parquet"
        self._trainer = trainer
        self._writer: pq.ParquetWriter | None = None
        self._file = ExitStack()
        self._held: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        """Adds rows, of the same columns each time."""
        self._held.append(table)
        if sum(table.num_rows for table in self._held) >= ROW_GROUP:
            self._write()

    def complete(self) -> None:
        """Completes the file, in place of an earlier one; a process that had no row writes none."""
        self._write()
        if self._writer is not None:
            self._writer.close()  # what the disk does not take, it refuses before any process has replaced its file
        self._trainer.strategy.barrier()
        if self._writer is None:
            self._path.unlink(missing_ok=True)
        self._file.close()
        self._trainer.strategy.barrier()
        for old in self.folder.glob(FILES) if self._trainer.is_global_zero else []:
            if old.name >= f"part-{self._trainer.world_size:05d}":
                old.unlink()  # of more processes than now

    def abandon(self, error: BaseException | None = None) -> None:
        """Takes away what is not complete; earlier files stay."""
        self._held, self._writer = [], None
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


def column(values: Tensor) -> pa.Array:
    """Numbers of [B], or lists of [B, K]."""
    numbers = values.detach().cpu()
    if numbers.dtype in (torch.float16, torch.bfloat16):
        numbers = numbers.float()
    flat = pa.array(numbers.flatten().numpy())
    return flat if numbers.dim() == 1 else pa.FixedSizeListArray.from_arrays(flat, numbers.shape[1])


def _opened(folder: Path) -> OSError | None:
    """Makes a folder ready, or says why it can't be."""
    try:
        own_folder(folder)
        for left in folder.glob(PARTS):
            left.unlink()  # of a process that was killed
    except OSError as error:
        return error
    return None
