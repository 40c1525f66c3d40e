"""Rows of a table of the recipe's columns, whatever kind of file holds it, with where each is from."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from mtlzoo.datamodules.columns import FILE_SPLIT, ORIGIN, GivenSplit, NumericColumn, Recipe, TimeSplit, UserSplit
from mtlzoo.datamodules.download.finding import there
from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError
from mtlzoo.datamodules.reading.tables import read_csv, read_parquet
from mtlzoo.datamodules.values.domains import DataType

ROW, ROW_FILE = ORIGIN


def listed(paths: object) -> list[str]:
    """One path, or several, as texts."""
    return [str(path) for path in paths] if isinstance(paths, list | tuple) else [str(paths)]


def found(root: Path, pattern: str) -> list[Path]:
    """Files of a path or pattern relative to `root`, by name."""
    if pattern.startswith("~/"):
        pattern = str(Path(pattern).expanduser())
    path = root / pattern
    if there(path):  # a name may hold what patterns are made of
        return [path]
    absolute = Path(pattern).is_absolute()
    files = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))) if absolute else root.glob(pattern))
    return list(filter(there, files))


def matches(root: Path, pattern: str, name: str) -> list[Path]:
    """As `found`, and there are some.

    Raises:
        DatasetNotFoundError: None.
    """
    if not (files := found(root, pattern)):
        raise DatasetNotFoundError(f"{name}: no file {root / pattern}. Paths and patterns are relative to root=.")
    return files


def read_table(
    path: Path,
    types: Mapping[str, DataType | None],
    how: Callable[[str], Mapping[str, Any]] = lambda separator: {"separator": separator},
) -> Iterator[pl.DataFrame]:
    """Columns of a ``.parquet``, ``.csv`` or ``.tsv`` file.

    Args:
        path: The file; text also as ``.gz``.
        types: Columns that are read and, for text, their types.
        how: Options of `read_csv`, of the separator that the file's name suggests.

    Raises:
        DataError: A file of another kind; see also `read_csv` and `read_parquet`.
    """
    if path.suffix in (".parquet", ".pq"):
        return read_parquet(path, columns=list(types))
    if path.name.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz")):
        return read_csv(path, columns=types, **how("\t" if ".tsv" in path.suffixes else ","))
    raise DataError(f"{path}: unknown file type; allowed are .parquet, .csv, .csv.gz, .tsv and .tsv.gz.")


def numbered(frames: Iterator[pl.DataFrame], path: Path, *, several: bool) -> Iterator[pl.DataFrame]:
    """The rows of one file with their number in it and, where there are several, the file."""
    first = 0
    for frame in frames:
        rows = pl.int_range(first, first + len(frame), dtype=pl.Int64, eager=True).alias(ROW)
        first += len(frame)
        yield frame.with_columns(rows, *([pl.lit(str(path)).alias(ROW_FILE)] if several else []))


def table_types(recipe: Recipe) -> dict[str, DataType | None]:
    """Columns that a recipe needs of a table and, for text, their types; None takes what the first block suggests."""
    split = recipe.split
    types: dict[str, DataType | None] = {}
    if isinstance(split, TimeSplit | UserSplit):  # by times, which are parsed later
        types[split.column if isinstance(split, TimeSplit) else split.order] = pl.String
    for column in recipe.columns:
        types.setdefault(column.name, pl.Float64 if isinstance(column, NumericColumn) else pl.String)
    if recipe.labelled:
        for label in recipe.labels:
            number = label.kind == "regression" or (label.kind == "multiclass" and label.classes > 0)
            types.setdefault(label.column, pl.Float64 if number else pl.String)
            types.setdefault(label.observed, pl.String)
        types.setdefault(recipe.weight or "", pl.Float64)
    if isinstance(split, UserSplit):
        types.setdefault(split.user, pl.String)
    elif isinstance(split, GivenSplit) and split.column != FILE_SPLIT:
        types.setdefault(split.column, pl.String)
    for name in ((recipe.labelled and recipe.group) or "", *recipe.ids):
        types.setdefault(name, pl.String)
    types.pop("", None)
    return types
