"""Files of the preparation: staged chunks, prepared columns and the identifiers of rows, written as they come."""

import io
import json
import os
import uuid
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mtlzoo.datamodules.errors import DamagedError, DataError
from mtlzoo.datamodules.values.names import file_stem, name_of

FLAT = frozenset({"weight", "group"})
"""Prepared columns of one dimension."""
BLOCK = 1 << 20
"""Bytes per checksum."""


class Stage:
    """Chunks of checked columns that wait on disk between the passes, one file each.

    Args:
        folder: An empty folder of its own.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.chunks: list[range] = []

    def write(self, columns: Sequence[pa.Array], rows: range) -> None:
        """Appends a chunk."""
        batch = pa.RecordBatch.from_arrays(list(columns), names=[str(i) for i in range(len(columns))])
        with pa.ipc.new_file(self._path(len(self.chunks)), batch.schema) as file:
            file.write_batch(batch)
        self.chunks.append(rows)

    def read(self, *, last: bool = False) -> Iterator[tuple[list[pa.Array], range]]:
        """Yields the chunks as they were written; with `last`, deletes each after use."""
        for number, rows in enumerate(self.chunks):
            yield self.at(number), rows
            if last:
                self._path(number).unlink()

    def at(self, number: int) -> list[pa.Array]:
        """The columns of a chunk, mapped."""
        with pa.memory_map(str(self._path(number))) as file:
            columns: list[pa.Array] = pa.ipc.open_file(file).get_batch(0).columns
        return columns

    @property
    def rows(self) -> int:
        """Rows of all chunks."""
        return sum(map(len, self.chunks))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.arrow"


class Checksum:
    """CRC-32 of every MiB of what is written to a file: it tells damage, not intent, at 2.7 GB/s."""

    def __init__(self) -> None:
        self._blocks: list[int] = []
        self._room = 0

    def add(self, data: bytes | memoryview) -> None:
        """Takes in what is written next."""
        view = memoryview(data).cast("B")
        while len(view):
            if not self._room:
                self._blocks.append(0)
                self._room = BLOCK
            part = view[: self._room]
            self._blocks[-1] = zlib.crc32(part, self._blocks[-1])
            self._room -= len(part)
            view = view[len(part) :]

    def __str__(self) -> str:
        """Eight hexadecimal digits per block."""
        return "".join(f"{block:08x}" for block in self._blocks)


class ColumnFile:
    """A ``.npy`` file of known length, appended to without holding or mapping it.

    Args:
        path: The file.
        dtype: Of the numbers in it.
        rows: Rows that will be appended in all.
        flat: Whether it has one dimension only.
    """

    block = 8192
    """Rows that are put together at once; few enough for the processor's cache."""

    def __init__(self, path: Path, dtype: npt.DTypeLike, rows: int, *, flat: bool) -> None:
        self.path = path
        try:
            self.file = path.open("xb")
        except FileExistsError:
            raise DataError(
                f"Column {name_of(path.stem)!r}: this file system takes its file for that of another column, whose "
                "name differs by case or accents only. Rename one of them."
            ) from None
        self.dtype = np.dtype(dtype)
        self.rows, self.flat = rows, flat
        self.begun = False
        self.checksum = Checksum()

    def append(self, parts: Sequence[npt.NDArray[Any]]) -> None:
        """Appends rows whose columns come in parts [rows, width]."""
        if not self.begun:
            width = sum(part.shape[1] for part in parts)
            shape = (self.rows,) if self.flat else (self.rows, width)
            header = io.BytesIO()
            layout = {"descr": self.dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(header, layout)
            self._write(header.getvalue())
            self.begun = True
        for start in range(0, len(parts[0]), self.block):
            block = [part[start : start + self.block] for part in parts]
            self._write(np.concatenate(block, axis=1, dtype=self.dtype, casting="same_kind").data)

    def _write(self, data: bytes | memoryview) -> None:
        self.file.write(data)
        self.checksum.add(data)

    def close(self) -> None:
        """Ends the file."""
        self.file.close()


class SplitFiles:
    """The files of one split.

    Args:
        folder: Made here.
        rows: Rows that will be appended in all.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        folder.mkdir()
        self.folder = folder
        self.rows = rows
        self.columns: dict[str, ColumnFile] = {}
        self.ids: pq.ParquetWriter | None = None

    def append(self, name: str, columns: Sequence[npt.NDArray[Any]], dtype: npt.DTypeLike) -> None:
        """Appends rows to a file of columns; threads may append to different files at once."""
        if name not in self.columns:
            self.columns[name] = ColumnFile(self.folder / f"{file_stem(name)}.npy", dtype, self.rows, flat=name in FLAT)
        self.columns[name].append(columns)

    def append_ids(self, ids: pl.DataFrame) -> None:
        """Appends rows of the raw columns that identify them."""
        table = ids.to_arrow(compat_level=pl.CompatLevel.oldest())
        self.ids = self.ids or _parquet_writer(self.folder / "ids.parquet", table.schema)
        self.ids.write_table(table)

    def flush(self) -> None:
        """Waits until the columns written so far are on the disk; other threads may append meanwhile."""
        for column in list(self.columns.values()):
            os.fdatasync(column.file.fileno())

    def close(self) -> None:
        """Ends all files."""
        for file in (*self.columns.values(), *filter(None, [self.ids])):
            file.close()

    def abandon(self) -> None:
        """Lets go of all files, ended or not, after an error."""
        for file in (*self.columns.values(), *filter(None, [self.ids])):
            with suppress(OSError):
                file.close()


def _parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    # Delta packing makes integers small at a third of the cost of compressing them; other columns are compressed.
    integers = [field.name for field in schema if pa.types.is_integer(field.type)]
    others = [name for name in schema.names if name not in integers]
    return pq.ParquetWriter(
        path,
        schema,
        use_dictionary=others,
        column_encoding=dict.fromkeys(integers, "DELTA_BINARY_PACKED"),
        compression=dict.fromkeys(integers, "none") | dict.fromkeys(others, "lz4"),
        write_statistics=False,
    )


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file that other processes may write too: it is the old one or the whole new one, whoever is last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, plain: Any) -> None:
    """Writes what JSON can hold, readably."""
    path.write_text(json.dumps(plain, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The mapping that a file of `write_json` holds.

    Raises:
        DamagedError: It is missing or holds something else; named.
    """
    try:
        plain = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise DamagedError(f"{path}: is missing") from None
    except ValueError as error:
        raise DamagedError(f"{path}: is no whole JSON file ({error})") from error
    if not isinstance(plain, dict):
        raise DamagedError(f"{path}: holds no mapping")
    return plain


def sync(folder: Path, *, recursive: bool = True) -> None:
    """Waits until a folder, with all that is in it, would survive a loss of power."""
    for path in (*(folder.rglob("*") if recursive else ()), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
