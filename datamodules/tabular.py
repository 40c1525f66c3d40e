"""TabularDataModule: anyone's Parquet or CSV files and a short schema."""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl

from mtlzoo.datamodules.base import MultiTaskDataModule
from mtlzoo.datamodules.blocks import known_encoding
from mtlzoo.datamodules.columns import GivenSplit, Label, NumericColumn, Recipe, Split, TimeSplit, UserSplit
from mtlzoo.datamodules.description import by_column, load_description, parse_column, parse_label, parse_split
from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError
from mtlzoo.datamodules.files import write_whole
from mtlzoo.datamodules.finding import there
from mtlzoo.datamodules.parsing import DataType, Decimal, Format
from mtlzoo.datamodules.plan import Plan
from mtlzoo.datamodules.reading import read_csv, read_parquet

FILE_SPLIT = "split of the file"
"""Column that `read` adds where train, val and test are files of their own."""

_FORMAT = ("separator", "null_values", "quote", "decimal", "strip")
Frame = pl.DataFrame | pd.DataFrame


class TabularDataModule(MultiTaskDataModule):
    """Tables of your own: ``.parquet``, ``.csv``, ``.tsv`` files (text also as ``.gz``) and what their columns are.

    The description is given as arguments, or as a YAML file with the same names as keys, or both (an argument wins)::

        train: clicks/*.parquet            # a path, a pattern, or a list of them; relative to root
        features:
          user_id: {kind: categorical, min_count: 5}
          item_id: categorical
          price: {kind: numeric, transform: log1p}
          tags: {kind: sequence, max_length: 5}
        labels:
          click: binary
          rating: {kind: regression}
        split: {kind: time, column: day, val: 2024-05-01, test: 2024-05-08}
        user: user_id

    and then ``mtlzoo fit --data TabularDataModule --data.root DIR --data.schema_file schema.yaml``. In Python,
    `from_frame` takes pandas or polars tables.

    Columns of a CSV are read as what they are used for: features and labels that are quantities as numbers, everything
    else as text, so ids keep their leading zeros. Columns that are not named are not read.

    Licence and citation: those of your data.

    Args:
        root: Folder of the files.
        schema_file: YAML file with any of the arguments below, relative to `root`.
        train: Files of the train split; of all rows where `val` and `test` are not given.
        val: Files of the validation split.
        test: Files of the test split.
        features: By column: ``categorical``, ``numeric``, ``sequence``, or a mapping of ``kind`` and the options of
            `CategoricalColumn`, `NumericColumn` and `SequenceColumn`.
        labels: By column: ``binary``, ``regression``, ``multiclass``, ``multilabel``, or a mapping of ``kind`` and the
            options of `Label`.
        split: How the rows of `train` are divided where `val` and `test` are not given: a mapping of ``kind``
            (``time``, ``random``, ``user``, ``column``) and the options of `TimeSplit`, `RandomSplit`, `UserSplit`,
            `GivenSplit`. Random, 80 % train, if None.
        user: Categorical column of the user; groups GAUC unless `group` is given.
        item: Categorical column of the item.
        group: Column by which grouped metrics group rows.
        ids: Columns that name a row in predictions.
        weight: Column of sample weights.
        separator: Separates the columns of text files; a tab for ``.tsv`` and a comma for others if None.
        encoding: Of text files: any of Python's, such as ``latin-1`` or ``gb18030``; UTF-8 if None.
        null_values: Texts of text files that mean "missing", such as ``NA``, besides the empty one.
        quote: Whether ``"`` quotes values of text files; true if None.
        decimal: Decimal point of numbers in text files, ``.`` or ``,``.
        strip: Whether to remove blanks around the values of text files; false if None.
        true_values: Texts that stand for 1 in binary labels; see `Label`.
        false_values: Texts that stand for 0 in binary labels.
        base: `prepared`, `batch_size`, `eval_batch_size`, `shuffle_seed`: see `MultiTaskDataModule`.

    Raises:
        ValueError: A description with an unknown kind or option, or without files, features or labels.
        DatasetNotFoundError: No `schema_file`.
    """

    licence = "that of your data"
    citation = "that of your data"
    url = ""

    def __init__(
        self,
        root: str | PathLike[str] = ".",
        *,
        schema_file: str | PathLike[str] | None = None,
        train: str | Sequence[str] | None = None,
        val: str | Sequence[str] | None = None,
        test: str | Sequence[str] | None = None,
        features: Mapping[str, str | Mapping[str, Any]] | None = None,
        labels: Mapping[str, str | Mapping[str, Any]] | None = None,
        split: Mapping[str, Any] | None = None,
        user: str | None = None,
        item: str | None = None,
        group: str | None = None,
        ids: Sequence[str] | None = None,
        weight: str | None = None,
        separator: str | None = None,
        encoding: str | None = None,
        null_values: Sequence[str] | None = None,
        quote: bool | None = None,
        decimal: Decimal | None = None,
        strip: bool | None = None,
        true_values: Sequence[str] | None = None,
        false_values: Sequence[str] | None = None,
        **base: Any,
    ) -> None:
        super().__init__(root, **base)
        given: dict[str, Any] = {
            "train": train,
            "val": val,
            "test": test,
            "features": features,
            "labels": labels,
            "split": split,
        }
        given |= {"user": user, "item": item, "group": group, "ids": ids, "weight": weight, "separator": separator}
        given |= {"encoding": encoding, "null_values": null_values, "quote": quote, "decimal": decimal, "strip": strip}
        given |= {"true_values": true_values, "false_values": false_values}
        described = load_description(self.root / schema_file, allowed=list(given)) if schema_file else {}
        described |= {name: value for name, value in given.items() if value is not None}
        for needed in ("train", "features", "labels"):
            if not described.get(needed):
                raise ValueError(f"TabularDataModule: no {needed}; give {needed}= or a schema_file= that has it.")
        described |= {name: by_column(name, described[name]) for name in ("features", "labels")}
        self.paths = {part: _listed(described[part]) for part in ("train", "val", "test") if described.get(part)}
        if len(self.paths) > 1 and described.get("split"):
            raise ValueError(
                "TabularDataModule: val and test files are given, so split= has nothing to divide; drop one."
            )
        self._described = described
        self.options()  # for its checks, as the next line
        Plan(self.recipe)  # for its checks: a typo is answered here, not after the files were read

    @classmethod
    def from_frame(
        cls, train: Frame, val: Frame | None = None, test: Frame | None = None, **arguments: Any
    ) -> "TabularDataModule":
        """A data module of pandas or polars tables, kept as Parquet beside the prepared data.

        Args:
            train: Rows of the train split; all rows where `val` and `test` are not given.
            val: Rows of the validation split.
            test: Rows of the test split.
            arguments: As of the class, but `root`, `schema_file`, `train`, `val`, `test` and what is of text files.
        """
        if of_text := sorted(arguments.keys() & {*_FORMAT, "encoding"}):
            raise ValueError(f"from_frame: {of_text} say how text files are read; a frame is read already. Drop them.")
        tables = {"train": train, "val": val, "test": test}
        written = {f"{part}.parquet": _parquet(table) for part, table in tables.items() if table is not None}
        paths: dict[str, Any] = {name.removesuffix(".parquet"): name for name in written}
        data = cls(**paths, **arguments)
        digest = hashlib.sha256(b"".join(written.values())).hexdigest()[:16]
        data.root = data.prepared / "frames" / digest
        for name, content in written.items():
            path = data.root / name
            if not path.is_file() or path.read_bytes() != content:
                write_whole(path, content)
        return data

    def __repr__(self) -> str:
        """Files, features and labels, by name."""
        names = {key: list(value) if isinstance(value, Mapping) else value for key, value in self._described.items()}
        options = {"root": str(self.root), **{name: value for name, value in names.items() if value}}
        return f"TabularDataModule({', '.join(f'{name}={value!r}' for name, value in options.items())})"

    __str__ = __repr__

    @cached_property
    def recipe(self) -> Recipe:
        """The description as columns, labels and split."""
        described = self._described
        columns = tuple(parse_column(name, spec) for name, spec in described["features"].items())
        user = described.get("user")
        return Recipe(
            columns=columns,
            labels=self._labels,
            split=self._split,
            user=user,
            item=described.get("item"),
            group=described.get("group") or user,
            ids=described.get("ids") or (),
            weight=described.get("weight"),
        )

    @property
    def _labels(self) -> tuple[Label, ...]:
        labels = [parse_label(name, spec) for name, spec in self._described["labels"].items()]
        words = {name: self._described[name] for name in ("true_values", "false_values") if name in self._described}
        binary = [label.kind == "binary" or label.observed != "" for label in labels]
        if words and not any(binary):
            raise ValueError(f"TabularDataModule: {list(words)} are of binary labels, and there are none. Drop them.")
        missing = [{name: value for name, value in words.items() if not getattr(label, name)} for label in labels]
        return tuple(
            replace(label, **more) if has else label for label, more, has in zip(labels, missing, binary, strict=True)
        )

    @property
    def _split(self) -> Split:
        if len(self.paths) > 1:
            return GivenSplit(FILE_SPLIT, needed=tuple(dict.fromkeys(("train", *self.paths))))
        return parse_split(self._described.get("split") or "random")

    def options(self) -> Mapping[str, Any]:
        """Which file belongs to which split, and how CSV files are read."""
        return {"paths": self.paths, **asdict(self._format("")), "encoding": self._encoding}

    def files(self) -> tuple[Path, ...]:
        """Files of train, val and test, each once, those of a pattern by name.

        Raises:
            DatasetNotFoundError: A path or pattern without a file.
        """
        return tuple(dict.fromkeys(path for paths in self._found.values() for path in paths))

    def read(self) -> Iterator[pl.DataFrame]:
        """Rows of the described columns, file by file."""
        for part, paths in self._found.items():
            for path in paths:
                for rows in self._rows(path):
                    yield rows.with_columns(pl.lit(part).alias(FILE_SPLIT)) if len(self.paths) > 1 else rows

    @property
    def _found(self) -> dict[str, list[Path]]:
        return {part: [p for path in paths for p in _matches(self.root, path)] for part, paths in self.paths.items()}

    def _rows(self, path: Path) -> Iterator[pl.DataFrame]:
        if path.suffix in (".parquet", ".pq"):
            return read_parquet(path, columns=list(self._types))
        if path.name.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz")):
            format = self._format("\t" if ".tsv" in path.suffixes else ",")
            return read_csv(path, columns=self._types, encoding=self._encoding, **asdict(format))
        raise DataError(f"{path}: unknown file type; allowed are .parquet, .csv, .csv.gz, .tsv and .tsv.gz.")

    def _format(self, separator: str) -> Format:
        """How a text file is written, with the separator that its name suggests."""
        given = {name: self._described[name] for name in _FORMAT if name in self._described}
        return Format(**{"separator": separator or "by the name", **given, "own": True})

    @property
    def _encoding(self) -> str:
        return known_encoding(self._described.get("encoding", "utf-8"))

    @cached_property
    def _types(self) -> dict[str, DataType | None]:
        """Columns that are read and, for CSV, their types."""
        recipe, split = self.recipe, self.recipe.split
        types: dict[str, DataType | None] = {}
        if isinstance(split, TimeSplit | UserSplit):  # by times, which are parsed later
            types[split.column if isinstance(split, TimeSplit) else split.order] = pl.String
        for column in recipe.columns:
            types.setdefault(column.name, pl.Float64 if isinstance(column, NumericColumn) else pl.String)
        for label in recipe.labels:
            number = label.kind == "regression" or (label.kind == "multiclass" and label.classes > 0)
            types.setdefault(label.column, pl.Float64 if number else pl.String)
            types.setdefault(label.observed, pl.String)
        types.setdefault(recipe.weight or "", pl.Float64)
        if isinstance(split, UserSplit):
            types.setdefault(split.user, pl.String)
        elif isinstance(split, GivenSplit) and split.column != FILE_SPLIT:
            types.setdefault(split.column, pl.String)
        for name in (recipe.group or "", *recipe.ids):
            types.setdefault(name, pl.String)
        types.pop("", None)
        return types


def _listed(paths: str | Sequence[str]) -> list[str]:
    return [str(paths)] if isinstance(paths, str | PathLike) else [str(path) for path in paths]


def _matches(root: Path, pattern: str) -> list[Path]:
    if pattern.startswith("~/"):
        pattern = str(Path(pattern).expanduser())
    path = root / pattern
    if there(path):  # a name may hold what patterns are made of
        return [path]
    absolute = Path(pattern).is_absolute()
    found = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))) if absolute else root.glob(pattern))
    if not found:
        raise DatasetNotFoundError(f"TabularDataModule: no file {path}. Paths and patterns are relative to root=.")
    return list(filter(there, found))


def _parquet(table: Frame) -> bytes:
    buffer = io.BytesIO()
    (pl.from_pandas(table) if isinstance(table, pd.DataFrame) else table).write_parquet(buffer)
    return buffer.getvalue()
