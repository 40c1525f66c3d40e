"""Prepared data on disk, opened without reading them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from mtlzoo.schema import FeatureSchema


class PreparedSplit(Mapping[str, Tensor]):
    """The columns of one split as memory-mapped tensors, rows first; keys as in a batch.

    Args:
        folder: ``<prepared>/<split>``.

    Shapes: ``categorical`` int32 [N, F], ``numeric`` float32 [N, D], sequences int32 [N, L], ``labels`` float32 [N, W]
    (float64 where 32 bits would make different labels one), ``weight`` float32 [N], ``group`` int64 [N].
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.columns = {path.stem: _mapped(path) for path in sorted(folder.glob("*.npy"))}
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"{folder}: columns of unequal length {lengths}; delete the folder and prepare again.")
        self.rows = next(iter(lengths.values()))

    def __getitem__(self, name: str) -> Tensor:
        return self.columns[name]

    def __iter__(self) -> Any:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def ids(self) -> pl.DataFrame:
        """Raw columns that identify the rows, in row order; empty where the data set declares none."""
        path = self.folder / "ids.parquet"
        return pl.read_parquet(path) if path.exists() else pl.DataFrame()


class PreparedData:
    """A finished preparation: schema, manifest and splits.

    Args:
        folder: What the preparation wrote.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
        self.schema = FeatureSchema.from_dict(json.loads((folder / "schema.json").read_text()))

    def __getitem__(self, split: str) -> PreparedSplit:
        rows: dict[str, int] = self.manifest["rows"]
        if not rows.get(split):
            raise KeyError(
                f"{self.folder}: no rows in split {split!r}; rows per split: {rows}. Change the split's bounds."
            )
        return PreparedSplit(self.folder / split)


def _mapped(path: Path) -> Tensor:
    # Copy-on-write mapping: torch refuses to alias read-only memory without a warning, and nothing here writes.
    return torch.from_numpy(np.load(path, mmap_mode="c"))
