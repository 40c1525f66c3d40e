"""TabularDataModule: anyone's Parquet or CSV files and a short schema."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import polars as pl

from mtlzoo.datamodules.base import MultiTaskDataModule
from mtlzoo.datamodules.columns import FILE_SPLIT, GivenSplit, Label, Recipe, Split
from mtlzoo.datamodules.errors import DataError, MissingColumnError
from mtlzoo.datamodules.prepare.frames import as_splits, is_path, keep_tables
from mtlzoo.datamodules.prepare.plan import Plan
from mtlzoo.datamodules.reading.blocks import known_encoding
from mtlzoo.datamodules.reading.lines import Decimal, Format
from mtlzoo.datamodules.reading.rows import ROW, ROW_FILE, listed, matches, numbered, read_table, table_types
from mtlzoo.datamodules.tabular_description import by_column, load_description, parse_column, parse_label, parse_split
from mtlzoo.datamodules.values.domains import DataType

_FORMAT = ("separator", "null_values", "quote", "decimal", "strip")


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
        base: `prepared`, `batch_size`, `eval_batch_size`, `shuffle_seed`, `like`, `predict`: see `MultiTaskDataModule`.
            With `like`, features, labels, user, item, group, ids and weight need not be said again, and rows to predict
            need no `train`.

    Raises:
        ValueError: A description with an unknown kind or option, or without files, features or labels.
        DatasetNotFoundError: No `schema_file`.
    """

    licence = "that of your data"
    citation = "that of your data"
    url = ""
    repeats = True

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
        tested = self.predict or described.get("val") or described.get("test")
        unsaid = ["features", "labels", *(["train"] if tested else [])] if self.like else []  # it knows them
        for needed in ("train", "features", "labels"):
            if not described.get(needed) and needed not in unsaid:
                raise ValueError(f"TabularDataModule: no {needed}; give {needed}= or a schema_file= that has it.")
        described |= {name: by_column(name, described[name]) for name in ("features", "labels") if described.get(name)}
        self.paths = {part: listed(described[part]) for part in ("train", "val", "test") if described.get(part)}
        if self._by_file and described.get("split"):
            raise ValueError(
                "TabularDataModule: val and test files are given, so split= has nothing to divide; drop one. "
                "Other rows than those of the test split are predicted with predict= (--data.predict)."
            )
        self._described = described
        self.options()  # for its checks, as the next line
        Plan(self.recipe)  # for its checks: a typo is answered here, not after the files were read

    @classmethod
    def from_frame(cls, train: Any = None, val: Any = None, test: Any = None, **arguments: Any) -> "TabularDataModule":
        """A data module of tables in memory, kept as Parquet beside the prepared data.

        A table is a frame of polars or pandas (a named index is a column), a LazyFrame, an Arrow table, a dictionary of
        columns, a list of dictionaries, or the path of a file.

        Args:
            train: Rows of the train split; all rows where `val` and `test` are not given. Or a tuple of train,
                validation and test.
            val: Rows of the validation split.
            test: Rows of the test split.
            arguments: As of the class, but `root`, `schema_file`, `train`, `val` and `test`.

        Raises:
            DataError: What is no table, or has a column that is none.
            ValueError: Options of text files, and none is given.
        """
        splits = as_splits(train, val, test)
        tables = {part: table for part, table in splits.items() if not is_path(table)}
        of_text = sorted(arguments.keys() & {*_FORMAT, "encoding"})
        if of_text and len(tables) == len(splits):
            raise ValueError(f"from_frame: {of_text} say how text files are read; a frame is read already. Drop them.")
        paths: dict[str, Any] = {
            part: f"{part}.parquet" if part in tables else _absolute(table) for part, table in splits.items()
        }
        data = cls(**paths, **arguments)
        if tables:
            data.root = next(iter(keep_tables(tables, data.prepared / "frames").values())).parent
        return data

    def __repr__(self) -> str:
        """Files, features and labels, by name."""
        names = {key: list(value) if isinstance(value, Mapping) else value for key, value in self._described.items()}
        options = {"root": str(self.root), **{name: value for name, value in names.items() if value}}
        return f"TabularDataModule({', '.join(f'{name}={value!r}' for name, value in options.items())})"

    __str__ = __repr__

    @cached_property
    def recipe(self) -> Recipe:
        """The description as columns, labels and split; what is not said is that of `like`."""
        known = self.like.recipe if self.like else Recipe((), ())
        described = self._described
        columns = described.get("features")
        user = described.get("user") or known.user
        return Recipe(
            columns=tuple(parse_column(name, spec) for name, spec in columns.items()) if columns else known.columns,
            labels=self._labels if described.get("labels") else known.labels,
            split=self._split,
            user=user,
            item=described.get("item") or known.item,
            group=described.get("group") or known.group or user,
            ids=described.get("ids") or known.ids,
            weight=described.get("weight") or known.weight,
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
    def origin(self) -> tuple[str, ...]:
        """The row's number in its file and, where a split has several, the file."""
        return (ROW, ROW_FILE) if any(len(paths) > 1 for paths in self._found.values()) else (ROW,)

    @property
    def _by_file(self) -> bool:
        """Whether each file belongs to a split."""
        return bool(set(self.paths) - {"train"})

    @property
    def _split(self) -> Split:
        if self._by_file:
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
        if not self.paths:
            raise DataError("TabularDataModule: there are rows to predict alone; give train= for a training or a test.")
        return tuple(dict.fromkeys(path for paths in self._found.values() for path in paths))

    def read(self) -> Iterator[pl.DataFrame]:
        """Rows of the described columns, file by file."""
        types, several = table_types(self.recipe), ROW_FILE in self.origin
        for part, paths in self._found.items():
            for path in paths:
                for rows in numbered(self._labelled(path, types), path, several=several):
                    yield rows.with_columns(pl.lit(part).alias(FILE_SPLIT)) if self._by_file else rows

    def _labelled(self, path: Path, types: Mapping[str, DataType | None]) -> Iterator[pl.DataFrame]:
        try:
            yield from self.read_table(path, types)
        except MissingColumnError as error:
            if set(error.missing) & set(table_types(replace(self.recipe, labelled=False))):
                raise
            raise DataError(
                f"{error} To predict rows that have no labels yet, give them as predict= (--data.predict {path.name})."
            ) from error

    def read_table(self, path: Path, types: Mapping[str, DataType | None]) -> Iterator[pl.DataFrame]:
        """Rows of a file of the split, or of `predict`."""
        return read_table(
            path, types, lambda separator: {**asdict(self._format(separator)), "encoding": self._encoding}
        )

    @property
    def _found(self) -> dict[str, list[Path]]:
        name = type(self).__name__
        return {
            part: [p for path in paths for p in matches(self.root, path, name)] for part, paths in self.paths.items()
        }

    def _format(self, separator: str) -> Format:
        """How a text file is written, with the separator that its name suggests."""
        given = {name: self._described[name] for name in _FORMAT if name in self._described}
        return Format(**{"separator": separator or "by the name", **given, "own": True})

    @property
    def _encoding(self) -> str:
        return known_encoding(self._described.get("encoding", "utf-8"))


def _absolute(paths: Any) -> list[str]:
    return [str(Path(path).absolute()) for path in listed(paths)]
