"""Raw rows in memory, encoded as those of a training; nothing is written."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from mtlzoo.datamodules.columns import FILE_SPLIT, GivenSplit
from mtlzoo.datamodules.errors import DataWarning
from mtlzoo.datamodules.prepare.encoding import Encoding
from mtlzoo.datamodules.prepare.frames import as_frame, refuse_objects
from mtlzoo.datamodules.prepare.plan import Plan
from mtlzoo.datamodules.prepare.remarks import Remarks
from mtlzoo.datamodules.prepare.shared import Column

CHUNK = 1 << 18
"""Rows that are encoded at a time."""
ENOUGH = 32
"""Rows from which on something is remarked of them: the ids of a few may all be new ones."""
NAME = "predict"
"""What the rows are called in messages, as those of a data module's `predict`."""


class RowEncoder:
    """Encodes rows of the features of a training; threads may ask at once.

    Args:
        encoding: What the training learned of its data.

    Raises:
        DataError: It was changed since it was written.
    """

    def __init__(self, encoding: Encoding) -> None:
        recipe = replace(encoding.recipe, split=GivenSplit(FILE_SPLIT), labelled=False, ids=())
        self.schema = encoding.schema
        self.plan = Plan(recipe)
        encoding.restore(self.plan)
        self.columns = [column.name for column in recipe.columns]

    def __call__(self, table: Any) -> dict[str, npt.NDArray[Any]]:
        """Columns of a batch, as `mtlzoo.datamodules.prepare.prepared.PreparedSplit` has them.

        Warns of `ENOUGH` rows or more where most ids of a column are unknown.

        Args:
            table: As of `as_frame`, with at least the columns of the features; others are not looked at.

        Raises:
            DataError: Columns that are missing, or values that they may not hold.
        """
        rows = as_frame(table, NAME, self.columns)
        refuse_objects(rows, NAME)
        outputs = {name: [encoder.fresh() for encoder in encoders] for name, encoders in self.plan.outputs.items()}
        chunks = list(_chunks(rows))
        staged = [
            {
                name: [encoder.stage(chunk, range(first, first + len(chunk))) for encoder in encoders]
                for name, encoders in outputs.items()
            }
            for first, chunk in chunks
        ]
        remarks = Remarks(self.schema, learned=False)
        columns = {}
        for name, encoders in outputs.items():
            dtype = np.result_type(*(encoder.dtype for encoder in encoders))
            for encoder in encoders:
                encoder.settle()
            parts = []
            for chunk in staged:
                encoded = [encoder.encode(raw) for encoder, raw in zip(encoders, chunk[name], strict=True)]
                if len(rows) >= ENOUGH:
                    remarks.add(NAME, name, encoded, [Column(raw) for raw in chunk[name]], np.arange(len(encoded[0])))
                parts.append(np.concatenate(encoded, axis=1, dtype=dtype, casting="same_kind"))
            columns[name] = np.concatenate(parts)
        for remark in remarks.lines({NAME: len(rows)}):
            warnings.warn_explicit(f"{NAME}: {remark}", DataWarning, "mtlzoo", 0)
        return columns


def _chunks(rows: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    """Parts of the rows, at least one, and the number of the first row of each."""
    for start in range(0, max(len(rows), 1), CHUNK):
        yield start + 1, rows.slice(start, CHUNK)
