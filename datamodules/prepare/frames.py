"""Tables in memory, of whatever library holds them, kept as Parquet files that every process reads."""

import hashlib
import io
import sys
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.prepare.storage import write_whole

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("train", "val", "test")
ALLOWED = (
    "a table of polars, pandas or Arrow, a dictionary of columns, a list of dictionaries (one per row), or the path of "
    "a .parquet, .csv or .tsv file"
)

UNREADABLE = (pl.exceptions.PolarsError, pa.ArrowException, TypeError, ValueError, OverflowError)
"""What libraries raise at values that are no column."""


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


def as_frame(table: Any, name: str) -> pl.DataFrame:
    """A table of any kind in `ALLOWED` but paths as a frame.

    Raises:
        DataError: It is none, with the column where one is to blame.
    """
    if isinstance(table, pl.LazyFrame):
        return table.collect()
    if _is_pandas(table):
        return _of_pandas(table, name)
    rows = isinstance(table, list) and all(isinstance(row, Mapping) for row in table)
    if isinstance(table, Mapping):
        _check_names(table, name)
        if lone := [key for key, values in table.items() if isinstance(values, str | bytes) or not _long(values)]:
            raise DataError(f"{name}: column {lone[0]!r} is {table[lone[0]]!r}; a column is a list or an array.")
    elif not (isinstance(table, pl.DataFrame | pa.Table) or hasattr(table, "__arrow_c_stream__") or rows):
        raise DataError(f"{name} is {_kind(table)}; allowed is {ALLOWED}.")
    try:
        options: dict[str, Any] = {"infer_schema_length": None} if rows else {}
        return pl.DataFrame(table, **options)
    except UNREADABLE as error:
        blamed = _blamed(table) if isinstance(table, Mapping) else _blamed_of_rows(table) if rows else ""
        raise DataError(f"{name}: {blamed}{error}") from error


def _is_pandas(table: object) -> bool:
    """Whether it is a table of pandas, which is not imported for that: a third of a second."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(table, pandas.DataFrame)


def _of_pandas(table: "pd.DataFrame", name: str) -> pl.DataFrame:
    import pandas as pd

    named = [level for level in table.index.names if level is not None and level not in table.columns]
    if named:  # what the rows are called by is a column like any other
        table = table.reset_index(level=named)
    _check_names(table.columns, name)
    if twice := table.columns[table.columns.duplicated()].tolist():
        raise DataError(f"{name}: column names {sorted(set(twice))} occur more than once. Rename them.")
    columns = []
    for column, values in table.items():
        if isinstance(values.dtype, pd.CategoricalDtype):  # of numbers too
            values = values.astype(values.cat.categories.dtype if not values.hasnans else object)
        if isinstance(values.dtype, pd.SparseDtype):
            values = values.astype(values.dtype.subtype)
        try:
            columns.append(pl.from_pandas(values).alias(str(column)))
        except UNREADABLE as error:
            raise DataError(
                f"{name}: column {column!r} of {values.dtype}: {error}. Give it one type, such as text."
            ) from error
    return pl.DataFrame(columns)


def _check_names(names: Any, name: str) -> None:
    wrong = [column for column in names if not isinstance(column, str)]
    if wrong:
        raise DataError(
            f"{name}: a column is named {wrong[0]!r} ({_kind(wrong[0])}); names are text. Rename the columns."
        )


def _of_tables(values: Mapping[str, Any]) -> bool:
    tables = (pl.DataFrame, pl.LazyFrame, pa.Table, Mapping, str, PathLike)
    return bool(values) and all(isinstance(table, tables) or _is_pandas(table) for table in values.values())


def _long(values: Any) -> bool:
    return isinstance(values, Sequence) or hasattr(values, "__len__")


def _blamed(columns: Mapping[str, Any]) -> str:
    """The first column that is none by itself, or that is not as long as the first."""
    length = len(next(iter(columns.values()), ()))
    for column, values in columns.items():
        if len(values) != length:
            return f"column {column!r} has {len(values)} rows where others have {length}. "
        try:
            pl.Series(column, values)
        except UNREADABLE:
            return f"column {column!r}: "
    return ""


def _blamed_of_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """The first column whose values are no column, and two values of it that don't go together."""
    for column in dict.fromkeys(key for row in rows for key in row):
        values = [row[column] for row in rows if row.get(column) is not None]
        try:
            pl.DataFrame([{column: value} for value in values], infer_schema_length=None)
        except UNREADABLE:
            other = next((value for value in values if type(value) is not type(values[0])), None)
            return f"column {column!r} holds {values[0]!r}{'' if other is None else f' and {other!r}'}: "
    return ""


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
