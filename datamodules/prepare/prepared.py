"""Prepared data on disk, opened without reading them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from mtlzoo.datamodules.errors import DamagedError, DataError
from mtlzoo.datamodules.prepare.fingerprint import FORMAT
from mtlzoo.datamodules.prepare.storage import FLAT, read_json
from mtlzoo.datamodules.values.names import name_of
from mtlzoo.schema import FeatureSchema

if TYPE_CHECKING:  # rows are encoded without torch where a model is served
    from torch import Tensor


class PreparedSplit(Mapping[str, "Tensor"]):
    """The columns of one split as memory-mapped tensors, rows first; keys as in a batch.

    Args:
        folder: ``<prepared>/<split>``.

    Shapes: ``categorical`` int32 [N, F], ``numeric`` float32 [N, D], sequences int32 [N, L], ``labels`` float32 [N, W]
    (float64 where 32 bits would make different labels one), ``weight`` float32 [N], ``group`` int64 [N].
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.columns = {name_of(path.stem): _mapped(path) for path in sorted(folder.glob("*.npy"))}
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) != 1:
            raise DamagedError(f"{folder}: columns of unequal length {lengths}; delete the folder and prepare again.")
        self.rows = next(iter(lengths.values()))

    def __getitem__(self, name: str) -> "Tensor":
        return self.columns[name]

    def __iter__(self) -> Any:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __repr__(self) -> str:
        """Folder, rows and shapes of columns."""
        columns = ", ".join(f"{name} {list(column.shape[1:])}" for name, column in self.columns.items())
        return f"PreparedSplit({str(self.folder)!r}: {self.rows:,} rows of {columns})"

    def ids(self) -> pl.DataFrame:
        """Raw columns that identify the rows, in row order; empty where the data set declares none."""
        path = self.folder / "ids.parquet"
        return pl.read_parquet(path, glob=False) if path.exists() else pl.DataFrame()


class PreparedData:
    """A finished preparation: schema, manifest and splits.

    Args:
        folder: What the preparation wrote; `verify` compares contents with their checksums, here only format, rows and
            columns are compared.

    Raises:
        DamagedError: Files are missing, or contradict each other.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = read_json(folder / "manifest.json")
        if self.manifest.get("format") != FORMAT:
            raise DamagedError(
                f"{folder / 'manifest.json'}: is of format {self.manifest.get('format')}, this version of mtlzoo reads "
                f"{FORMAT}; delete the folder and prepare again."
            )
        self.schema = FeatureSchema.from_dict(read_json(folder / "schema.json"))
        for split, rows in self.manifest["rows"].items():
            if rows:
                self._check(self[split], rows)

    def __repr__(self) -> str:
        """Folder and rows of splits."""
        rows = ", ".join(f"{split} {count:,}" for split, count in self.manifest["rows"].items())
        return f"PreparedData({str(self.folder)!r}: {rows})"

    def __getitem__(self, split: str) -> PreparedSplit:
        rows: dict[str, int] = self.manifest["rows"]
        if not rows.get(split):
            raise DataError(
                f"{self.folder}: no rows in split {split!r}; rows per split: {rows}. Give it rows: files, or other "
                "bounds of the split."
            )
        return PreparedSplit(self.folder / split)

    def _check(self, split: PreparedSplit, rows: int) -> None:
        schema = self.schema
        widths = {"categorical": len(schema.categorical), "numeric": len(schema.numeric)}
        if self.manifest["labelled"]:
            widths |= {"labels": sum(task.label_width for task in schema.tasks)}
        widths |= {sequence.name: sequence.max_length for sequence in schema.sequences}
        expected = {name: (rows, width) for name, width in widths.items() if width}
        found = {name: tuple(column.shape) for name, column in split.items() if name not in FLAT}
        if found != expected or split.rows != rows:
            raise DamagedError(
                f"{split.folder}: holds {found}, the manifest and the schema say {expected}; delete the folder and "
                "prepare again."
            )


def _mapped(path: Path) -> "Tensor":
    import torch

    # Copy-on-write mapping: torch refuses to alias read-only memory without a warning, and nothing here writes.
    return torch.from_numpy(np.load(path, mmap_mode="c"))
