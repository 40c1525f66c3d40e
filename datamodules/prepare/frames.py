"""Tables in memory, of whatever library holds them, kept as Parquet files that every process reads."""

import hashlib
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.prepare.series import UNREADABLE, as_series, is_column, kinds
from mtlzoo.datamodules.prepare.storage import write_whole
from mtlzoo.datamodules.values.checks import check_columns

PARTS = ("train", "val", "test")
TABLES = "a table of polars, pandas or Arrow, a dictionary of columns, a list of dictionaries (one per row)"
ALLOWED = f"{TABLES}, or the path of a .parquet, .csv or .tsv file"


def is_path(table: object) -> bool:
    """Whether it is a path, or a list of them."""
    if isinstance(table, list | tuple):
        return bool(table) and all(isinstance(path, str | PathLike) for path in table)
    return isinstance(table, str | PathLike)


def is_table(table: object) -> bool:
    """Whether it is there and no path."""
    return table is not None and not is_path(table)


def as_splits(train: Any, val: Any, test: Any) -> dict[str, Any]:
    """The given tables by split; `train` may be several: a tuple of up to three, or a dictionary of them.

    Raises:
        DataError: Several, and `val` or `test` beside them; or another number.
    """
    several = train if isinstance(train, Mapping) and set(train) <= set(PARTS) and _of_tables(train) else None
    if isinstance(train, tuple) and not is_path(train):
        if not 1 <= len(train) <= len(PARTS):
            raise DataError(f"from_frame: a tuple of {len(train)} tables; allowed are (train, val, test).")
        several = dict(zip(PARTS, train, strict=False))
    if several is not None and (val is not None or test is not None):
        raise DataError("from_frame: several tables in train=, and val= or test= beside them; give each once.")
    given = {"train": train, "val": val, "test": test} if several is None else several
    return {part: given[part] for part in PARTS if given.get(part) is not None}


def keep_tables(tables: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Writes tables into a sub-folder that is named after their contents.

    Several processes may keep the same tables at once: each file is the old one or the whole new one.

    Args:
        tables: By the name of their file.
        folder: Made where it is missing.

    Returns:
        The files, by name.

    Raises:
        DataError: What is no table, or has columns that no file can hold.
    """
    contents = {name: _parquet(as_frame(table, name), name) for name, table in tables.items()}
    digest = hashlib.sha256(b"".join(contents.values())).hexdigest()[:16]
    paths = {name: folder / digest / f"{name}.parquet" for name in contents}
    for name, path in paths.items():
        if not path.is_file() or path.read_bytes() != contents[name]:
            write_whole(path, contents[name])
    return paths


def as_frame(table: Any, name: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """A table of any kind in `TABLES` as a frame.

    Args:
        table: The table.
        name: What it is called in messages.
        columns: Those that are wanted, in this order; others are not looked at. None: all.

    Raises:
        DataError: It is none, or lacks a column; with the column where one is to blame.
    """
    if isinstance(table, pl.DataFrame | pl.LazyFrame):
        try:
            chosen = table.select(_wanted(table.collect_schema().names(), columns, name))
            return chosen if isinstance(chosen, pl.DataFrame) else chosen.collect()
        except pl.exceptions.PolarsError as error:
            raise DataError(f"{name}: {error}") from error
    names, column = _opened(table, name, columns)
    frame: dict[str, pl.Series] = {}
    for wanted in _wanted(names, columns, name):
        values = column(wanted)
        if not is_column(values):
            raise DataError(f"{name}: column {wanted!r} is {values!r}; a column is a list or an array.")
        try:
            frame[wanted] = as_series(values, wanted)
        except UNREADABLE as error:
            kind = f" of {values.dtype}" if hasattr(values, "dtype") else ""
            raise DataError(
                f"{name}: column {wanted!r}{kind} holds {kinds(values)}: {error}. Give it one type, such as text."
            ) from error
    height = len(next(iter(frame.values()), ()))
    if uneven := [key for key, values in frame.items() if len(values) != height]:
        raise DataError(f"{name}: column {uneven[0]!r} has {len(frame[uneven[0]])} rows where others have {height}.")
    return pl.DataFrame(list(frame.values()))


def _opened(table: Any, name: str, columns: Sequence[str] | None) -> tuple[list[Any], Callable[[str], Any]]:
    """Names of a table's columns, and what gives the values of one."""
    if isinstance(table, Mapping):
        return list(table), table.__getitem__
    if _is_pandas(table):
        # What the rows are called by is a column like any other.
        named = [level for level in table.index.names if level is not None and level not in table.columns]
        index, names = table.index, [*named, *table.columns]
        return names, lambda key: index.get_level_values(key) if key in named else table[key]
    if isinstance(table, list) and all(isinstance(row, Mapping) for row in table):
        keys = dict.fromkeys(key for row in table for key in row) if table else columns or ()  # no row lacks any
        return list(keys), lambda key: [row.get(key) for row in table]
    allowed = ALLOWED if columns is None else TABLES
    if not hasattr(table, "__arrow_c_stream__") and not isinstance(table, pa.RecordBatch):
        raise DataError(f"{name} is {_kind(table)}; allowed is {allowed}.")
    try:
        arrow = table if isinstance(table, pa.Table) else pa.table(table)
    except UNREADABLE as error:
        raise DataError(f"{name} is {_kind(table)}, no table ({error}); allowed is {allowed}.") from error
    return arrow.column_names, arrow.column


def _wanted(names: list[Any], columns: Sequence[str] | None, name: str) -> Sequence[str]:
    """The columns that are taken of a table that has those names."""
    if columns is None or not set(columns) <= set(names):
        _check_names(names, name)
    if columns is not None and len(set(names)) < len(names):  # how often others occur is not looked at
        names = [each for place, each in enumerate(names) if each in columns or each not in names[:place]]
    check_columns(name, names, columns or ())
    return names if columns is None else columns


def _is_pandas(table: object) -> bool:
    """Whether it is a table of pandas, which is not imported for that: a third of a second."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(table, pandas.DataFrame)


def _check_names(names: Any, name: str) -> None:
    wrong = [column for column in names if not isinstance(column, str)]
    if wrong:
        raise DataError(
            f"{name}: a column is named {wrong[0]!r} ({_kind(wrong[0])}); names are text. Rename the columns."
        )


def _of_tables(values: Mapping[str, Any]) -> bool:
    tables = (pl.DataFrame, pl.LazyFrame, pa.Table, Mapping, str, PathLike)
    return bool(values) and all(isinstance(table, tables) or _is_pandas(table) for table in values.values())


def refuse_objects(frame: pl.DataFrame, name: str) -> None:
    """Refuses columns of Python's objects.

    Raises:
        DataError: The first of them.
    """
    if objects := [column for column, dtype in frame.schema.items() if dtype == pl.Object]:
        value = next((value for value in frame[objects[0]] if value is not None), None)
        raise DataError(
            f"{name}: column {objects[0]!r} holds {_kind(value)}s; allowed are numbers, texts, times and lists."
        )


def _parquet(frame: pl.DataFrame, name: str) -> bytes:
    refuse_objects(frame, name)
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
