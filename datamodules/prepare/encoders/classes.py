"""The encoder of classes that have names: given, or learned from train."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from typing_extensions import override

from mtlzoo.datamodules.columns import Label
from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.prepare.encoders.base import Places
from mtlzoo.datamodules.prepare.encoders.labels import LabelEncoder, observed
from mtlzoo.datamodules.values.arrow import from_arrow, to_arrow
from mtlzoo.datamodules.values.checks import NUMBER, require
from mtlzoo.datamodules.values.keys import as_keys, key_type


class NamedClassEncoder(LabelEncoder):
    """The place of each row's class among the names, NaN where not observed.

    Names are those of the label or, where it has none, the distinct values of train: numbers by size, texts by
    alphabet. ``7``, 7 and 7.0 are one name.
    """

    def __init__(self, label: Label) -> None:
        super().__init__(label)
        self.names = label.class_names
        self._seen: set[str] = set()

    @override
    def stage(self, chunk: pl.DataFrame, rows: range) -> pa.Array:
        column = self.label.column
        kind = key_type(chunk[column], column)
        if chunk.schema[column] == pl.Boolean or (kind is not None and kind.is_temporal()):
            raise DataError(
                f"Column {column!r} holds {chunk.schema[column]}; names of classes are texts or numbers. Write them as "
                "text."
            )
        names = as_keys(chunk[column], pl.String(), column, rows).replace("", None)
        if self.names:
            require(names.is_in(list(self.names)), names, column, rows, f"{self._allowed}, or null. Correct the rows")
        return to_arrow(observed(names, chunk, self.label, rows)).dictionary_encode()

    @override
    def observe(self, staged: pa.Array, train: Places) -> None:
        places = from_arrow(staged.indices).gather(train).drop_nulls().unique()
        self._seen.update(from_arrow(staged.dictionary).gather(places))

    @override
    def fit(self) -> None:
        names = pl.Series(sorted(self._seen), dtype=pl.String)
        by = names.cast(pl.Float64, strict=False) if names.str.contains(NUMBER).all() else names
        self.names = self.names or tuple(names.gather(by.arg_sort()))
        if len(self.names) < 2:
            raise DataError(
                f"Column {self.label.column!r} has {len(self.names)} classes in train, {list(self.names)}; allowed are "
                "2 and more. Leave the label out, or change the split."
            )

    @override
    def state(self) -> dict[str, Any]:
        return {**super().state(), "classes": list(self.names)}

    @override
    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.names = tuple(state["classes"])

    @override
    def encode(self, staged: pa.Array) -> npt.NDArray[np.float32]:
        names = from_arrow(staged.dictionary)
        remedy = "as train has no other. Split otherwise, make it null, or name all of them in class_names"
        require(names.is_in(list(self.names)), names, self.label.column, None, f"{self._allowed}, {remedy}")
        places = {name: place for place, name in enumerate(self.names)}
        of_names = np.asarray([*(places[name] for name in names), np.nan], np.float32)
        indices: npt.NDArray[Any] = staged.indices.fill_null(len(names)).to_numpy()
        return of_names.take(indices)[:, None]

    @property
    @override
    def classes(self) -> int:
        return len(self.names) or 2  # until they are learned

    @property
    def _allowed(self) -> str:
        shown = ", ".join(map(repr, self.names[:20]))
        return f"one of the classes {shown}{', ...' if len(self.names) > 20 else ''}"
