"""Which rows are train, validation and test."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from typing_extensions import override

from mtlzoo.datamodules.columns import GivenSplit, RandomSplit, Split, TimeSplit, UserSplit
from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.hashing import hash_values, splitmix64, uniform
from mtlzoo.datamodules.values.checks import require
from mtlzoo.datamodules.values.keys import KeyColumn
from mtlzoo.datamodules.values.times import TimeColumn, is_day

Codes = npt.NDArray[np.uint8]
TRAIN, VAL, TEST = 0, 1, 2


class Splitter(ABC):
    """Gives every row the number of its split, kept in a file so that memory does not grow with the rows.

    Args:
        folder: An empty folder of its own.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.file = folder / "codes"
        self.names = ["train", "val", "test"]

    @abstractmethod
    def add(self, chunk: pl.DataFrame, rows: range) -> None:
        """Takes in the next rows; `rows` are their numbers, from 1.

        Raises:
            DataError: Values that rows cannot be split by.
        """

    def finish(self) -> None:  # noqa: B027
        """Ends `add`."""

    def codes(self, rows: range) -> Codes:
        """Position in `names` of the split of each row; after `finish`."""
        return np.fromfile(self.file, np.uint8, len(rows), offset=rows.start - 1)


def splitter(split: Split, folder: Path) -> Splitter:
    """The splitter of a declaration."""
    if isinstance(split, TimeSplit):
        return TimeSplitter(split, folder)
    if isinstance(split, GivenSplit):
        return GivenSplitter(split, folder)
    return RandomSplitter(split, folder) if isinstance(split, RandomSplit) else UserSplitter(split, folder)


def check_needed(split: Split, rows_of: Mapping[str, int]) -> None:
    """Refuses splits that are needed and empty.

    Raises:
        DataError: With the rows of every split, and how to ask for fewer splits.
    """
    empty = [name for name in split.needed if not rows_of.get(name)]
    if not empty:
        return
    found = f"No row is in {' or '.join(empty)}; rows per split: {dict(rows_of)}."
    if "train" in empty:
        raise DataError(f"{found} Change {split}.")
    if isinstance(split, GivenSplit):
        asked = f"needed={[name for name in split.needed if name not in empty]}"
    else:
        asked = ", ".join(f"{name}={None if isinstance(split, TimeSplit) else 0}" for name in empty)
    raise DataError(f"{found} Check that the files are whole, change {split}, or ask for no such split: {asked}.")


class RowSplitter(Splitter):
    """Splits each row by itself."""

    @override
    def add(self, chunk: pl.DataFrame, rows: range) -> None:
        with self.file.open("ab") as file:
            file.write(self.split(chunk, rows).astype(np.uint8).tobytes())

    @abstractmethod
    def split(self, chunk: pl.DataFrame, rows: range) -> npt.NDArray[Any]:
        """Position in `names` of the split of each row."""


class RandomSplitter(RowSplitter):
    """Splits by a number drawn from seed and row number, so the same rows fall the same way however they are read."""

    def __init__(self, declared: RandomSplit, folder: Path) -> None:
        super().__init__(folder)
        self.declared = declared

    @override
    def split(self, chunk: pl.DataFrame, rows: range) -> npt.NDArray[Any]:
        drawn = uniform(splitmix64(np.asarray(rows)), self.declared.seed)
        test, val = self.declared.test, self.declared.test + self.declared.val
        return np.where(drawn < test, TEST, np.where(drawn < val, VAL, TRAIN))


class TimeSplitter(RowSplitter):
    """Splits by two bounds on a column of times or numbers."""

    def __init__(self, declared: TimeSplit, folder: Path) -> None:
        super().__init__(folder)
        self.declared = declared
        self.column = TimeColumn(declared.column)
        bounds = [bound for bound in (declared.val, declared.test) if bound is not None]
        self.days = bool(bounds) and all(map(is_day, bounds))

    @override
    def split(self, chunk: pl.DataFrame, rows: range) -> npt.NDArray[Any]:
        times = self.column.check(chunk[self.declared.column], rows)
        codes = np.full(len(times), TRAIN, np.uint8)
        for split, bound in ((VAL, self.declared.val), (TEST, self.declared.test)):
            if bound is not None:
                codes[(times >= self.column.bound(bound)).to_numpy()] = split
        if self.days and self.column.form == "numbers":
            self.column.require_days(times, rows)
        return codes


class GivenSplitter(RowSplitter):
    """Splits by the names in a column."""

    mistaken = frozenset({"valid", "validation", "dev", "eval", "training", "testing"})
    taken = frozenset({"vocabulary", "links", "work"})
    """Folders of other things beside those of the splits."""
    most = 16

    def __init__(self, declared: GivenSplit, folder: Path) -> None:
        super().__init__(folder)
        self.declared = declared

    @override
    def split(self, chunk: pl.DataFrame, rows: range) -> npt.NDArray[Any]:
        name = self.declared.column
        values = chunk[name].cast(pl.String)
        for value in values.unique().sort():
            wrong = value is None or value in self.mistaken | self.taken or not re.fullmatch("[a-z][a-z0-9_]*", value)
            if wrong or (value not in self.names and len(self.names) == self.most):
                require(values.ne_missing(value), values, name, rows, "train, val, test or the name of an extra split")
            if value not in self.names:
                self.names.append(value)
        return values.replace_strict(self.names, range(len(self.names)), return_dtype=pl.UInt8).to_numpy()


class UserSplitter(Splitter):
    """Splits the rows of each user in order, wherever they are in the files.

    User, order and row number go to files by a hash of the user, so that one file's users fit into memory. The codes,
    one byte per row, are written through a mapped file.
    """

    files = 64

    def __init__(self, declared: UserSplit, folder: Path) -> None:
        super().__init__(folder)
        self.declared = declared
        self.user, self.order = KeyColumn(declared.user), TimeColumn(declared.order)
        self.rows = 0
        self._writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}

    @override
    def add(self, chunk: pl.DataFrame, rows: range) -> None:
        user = self.user.check(chunk[self.declared.user], rows)
        keys = pl.DataFrame({"user": _complete(user, self.declared.user, rows), "row": np.asarray(rows)})
        if self.declared.order:
            keys = keys.with_columns(order=self.order.check(chunk[self.declared.order], rows))
        if self.declared.seed is not None:
            keys = keys.with_columns(order=pl.Series(uniform(splitmix64(np.asarray(rows)), self.declared.seed)))
        keys = keys.with_columns(file=pl.Series(hash_values(keys["user"]) % np.uint64(self.files)))
        for (file,), part in keys.partition_by("file", include_key=False, as_dict=True).items():
            table = part.to_arrow(compat_level=pl.CompatLevel.oldest())
            if file not in self._writers:
                self._writers[file] = pa.ipc.new_stream(self.folder / str(file), table.schema)
            self._writers[file].write_table(table)
        self.rows += len(chunk)

    @override
    def finish(self) -> None:
        codes = np.memmap(self.file, np.uint8, "w+", shape=self.rows)
        whole = _floor if self.declared.rounding == "down" else _ceil
        held_out, test = self.declared.val + self.declared.test, self.declared.test
        for file, writer in self._writers.items():
            writer.close()
            keys = pl.read_ipc_stream(self.folder / str(file))
            keys = keys.sort("user", *(["order"] if "order" in keys.columns else []), "row")
            count = pl.len().over("user")
            left = count - 1 - pl.int_range(pl.len()).over("user")  # rows of the user that come later
            code = (left < whole(count * held_out)).cast(pl.UInt8) + (left < whole(count * test)).cast(pl.UInt8)
            keys = keys.select("row", code=code)
            codes[keys["row"].to_numpy() - 1] = keys["code"].to_numpy()
            (self.folder / str(file)).unlink()
        codes.flush()


def _complete(values: pl.Series, column: str, rows: range) -> pl.Series:
    require(values.is_not_null(), values, column, rows, "a value in every row, as the split is by this column")
    return values


def _floor(x: pl.Expr) -> pl.Expr:
    return (x + 1e-9).floor()  # 100 * 0.29 is 28.999999999999996


def _ceil(x: pl.Expr) -> pl.Expr:
    return (x - 1e-9).ceil()  # 30 * 0.1 is 3.0000000000000004
