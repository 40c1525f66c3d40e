"""The base class of every data module: raw files in, batches out."""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from inspect import signature
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from mtlzoo.datamodules.columns import FILE_SPLIT, GivenSplit, Recipe
from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.loading import BatchLoader
from mtlzoo.datamodules.loading.batches import LARGEST, default_batch_size
from mtlzoo.datamodules.prepare import PreparedData, prepare
from mtlzoo.datamodules.prepare.encoding import Encoding
from mtlzoo.datamodules.prepare.fingerprint import fingerprint
from mtlzoo.datamodules.prepare.frames import is_table, keep_tables
from mtlzoo.datamodules.prepare.joined import reader_of
from mtlzoo.datamodules.prepare.like import find_encoding
from mtlzoo.datamodules.reading.rows import (
    ROW,
    ROW_FILE,
    found,
    listed,
    matches,
    numbered,
    read_table,
    table_types,
)
from mtlzoo.datamodules.reading.tally import Tally
from mtlzoo.datamodules.row_order import SeededOrder
from mtlzoo.datamodules.values.domains import DataType
from mtlzoo.schema import FeatureSchema


class MultiTaskDataModule(SeededOrder, ABC):
    """Prepares a data set once and loads whole batches from memory-mapped columns.

    A subclass says what its raw files are (`files`), yields their rows (`read`) and declares its columns (`recipe`).

    Args:
        root: Folder of the publisher's files.
        prepared: Folder under which prepared data are kept, one sub-folder per fingerprint of raw files and options.
            Default: the environment's ``MTLZOO_CACHE``, or ``~/.cache/mtlzoo``.
        batch_size: Rows per batch and process. None: the largest power of two that gives an epoch 256 steps or more,
            from 32 rows for a small table to 4096.
        eval_batch_size: Rows per batch in validation, test and prediction; `batch_size` if None, and 4096 without one.
        shuffle_seed: Seed of the row order; the order of an epoch depends on it and the epoch alone. None: the seed of
            the training, see `SeededOrder`.
        like: A former training whose vocabularies and statistics encode these data, in place of those of train: a run
            folder, a checkpoint or a prepared folder. Only so does a trained model meet data of another train split.
        predict: Rows to predict in place of the test split: files (relative to `root`, or patterns) or a table in
            memory, with the columns of the features and `ids` alone. They are encoded as `like` was, or as train was.
    """

    repeats: ClassVar[bool] = False
    """Whether two raw files may hold the same; a publisher's may not."""

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        prepared: str | os.PathLike[str] | None = None,
        batch_size: int | None = None,
        eval_batch_size: int | None = None,
        shuffle_seed: int | None = None,
        like: str | os.PathLike[str] | None = None,
        predict: str | Sequence[str] | Any = None,
    ) -> None:
        super().__init__()
        for name, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if value is not None and not (isinstance(value, Integral) and value >= 1):
                raise ValueError(f"{type(self).__name__}: {name}={value!r}; allowed are whole numbers >= 1.")
        self.root = Path(root).expanduser()
        cache = prepared or os.environ.get("MTLZOO_CACHE") or Path("~/.cache/mtlzoo")
        self.prepared = Path(cache).expanduser()
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.shuffle_seed = shuffle_seed
        self.tally = Tally()
        self.like = None if like is None else find_encoding(like)
        if is_table(predict):
            predict = [*keep_tables({"predict": predict}, self.prepared / "frames").values()]
        self.predict = None if predict is None else listed(predict)

    def __repr__(self) -> str:
        """The class and the options that are not the default ones; nothing is read or prepared for it."""
        options: dict[str, Any] = {}
        for kind in reversed(type(self).__mro__):
            if "__init__" in vars(kind) and issubclass(kind, MultiTaskDataModule):
                for name, parameter in signature(kind.__init__).parameters.items():
                    value = vars(self).get(name, parameter.default)
                    value = str(value) if isinstance(value, Path) else value
                    options.pop(name, None)  # a subclass may have another default
                    if name == "root" or (value != parameter.default and name != "prepared"):
                        options[name] = value
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in options.items())})"

    __str__ = __repr__

    # ---- what a data set says of itself

    @cached_property
    @abstractmethod
    def recipe(self) -> Recipe:
        """Columns, labels and split."""

    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """Raw files that `read` reads, all present; downloads them where that needs no login.

        Raises:
            DatasetNotFoundError: Files are missing; the message says which, where and how to get them.
        """

    @abstractmethod
    def read(self) -> Iterator[pl.DataFrame]:
        """Chunks of rows with the recipe's columns, in file order, the same at every call.

        What it leaves out or does not find in another table is counted by `tally`; see `Tally`.
        """

    def options(self) -> Mapping[str, Any]:
        """Plain options, beyond the recipe, that change what `read` yields; part of the fingerprint."""
        return {}

    def read_links(self, name: str) -> Iterator[pl.DataFrame]:
        """Frames of the links of that name, in raw ids; which columns: `read_links` of `prepare.links`."""
        raise NotImplementedError(f"{type(self).__name__} declares the links {name!r}, but read_links() has none.")

    def read_table(self, path: Path, types: Mapping[str, DataType | None]) -> Iterator[pl.DataFrame]:
        """Rows of a file of `predict`, of the columns in `types`."""
        return read_table(path, types)

    @property
    def origin(self) -> tuple[str, ...]:
        """Columns that `read` adds to say where a row is from; predictions show them."""
        return ()

    @property
    def tested(self) -> str:
        """The split that is tested and predicted."""
        return "test"

    # ---- what everybody uses

    @cached_property
    def folder(self) -> Path:
        """Folder of the prepared data; named after data set and fingerprint."""
        return self._folder_of(self.recipe, self.files(), self.like, dict(self.options()))

    @property
    def schema(self) -> FeatureSchema:
        """Features and tasks; prepares the data where that has not been done."""
        return self.encoding.schema

    @cached_property
    def encoding(self) -> Encoding:
        """What ids and numbers mean: as the data were prepared or, for rows to predict alone, as `like` says."""
        return self.like if self.like and self.predict else Encoding(self.data.folder)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What a model that was trained on these data notes, and compares with other data that it meets."""
        noted = {"fingerprint": self.encoding.fingerprint, "folder": str(self.encoding.folder.absolute())}
        return {"schema": self.schema.to_dict(), **noted, **self.encoding.identity}

    @cached_property
    def data(self) -> PreparedData:
        """The prepared data, opened; prepared first where that has not been done."""
        self._prepare()
        return PreparedData(self.folder)

    @cached_property
    def new_rows(self) -> PreparedData:
        """The rows of `predict`, encoded and opened; their split is ``predict``."""
        encoding = self.encoding
        trained: dict[str, Any] = {"labels": encoding.recipe.labels, "links": encoding.recipe.links, "labelled": False}
        origin = (ROW, ROW_FILE) if len(self._new_files) > 1 else (ROW,)
        encoding.check_features(self.recipe, type(self).__name__)
        recipe = replace(self.recipe, split=GivenSplit(FILE_SPLIT), origin=origin, **trained)
        folder = self._folder_of(recipe, self._new_files, encoding, {"predict": True})
        prepare(recipe, self._read_new, folder, name=type(self).__name__, like=encoding)
        return PreparedData(folder)

    def prepare_data(self) -> None:
        """Prepares the data unless a finished preparation is there; other processes wait for the first."""
        if self.predict:
            assert self.new_rows  # preparing is the effect
        else:
            self._prepare()

    def setup(self, stage: str | None = None) -> None:
        """Opens the prepared data.

        Raises:
            DataError: A training is to validate, and has no rows for that.
        """
        super().setup(stage)
        assert self.new_rows if self.predict and stage == "predict" else self.data  # opening is the effect
        if stage == "fit" and self.trainer and self.trainer.limit_val_batches:
            self.need_validation()

    def need_validation(self) -> None:
        """Says before a training begins that its validation would have no rows.

        Raises:
            DataError: It has none; with the remedy.
        """
        rows: dict[str, int] = self.data.manifest["rows"]
        if not rows.get("val"):
            raise DataError(
                f"{type(self).__name__}: the validation split has no rows (rows per split: {rows}). Train without "
                "validation, --trainer.limit_val_batches 0 or Trainer(limit_val_batches=0), or change the split so "
                "that it holds some out."
            )

    def train_dataloader(self) -> BatchLoader:
        """Shuffled batches of the train split; its first rows in order under the trainer's `overfit_batches`."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> BatchLoader:
        """Batches of the validation split, in order."""
        return self._loader("val")

    def test_dataloader(self) -> BatchLoader:
        """Batches of the test split, in order."""
        return self._loader(self.tested)

    def predict_dataloader(self) -> BatchLoader:
        """Batches of the rows of `predict`, or else of the test split, in order."""
        return self._loader("predict" if self.predict else self.tested)

    def _loader(self, split: str, *, shuffle: bool = False) -> BatchLoader:
        batch_size = self._train_batch_size if shuffle else self.eval_batch_size or self.batch_size or LARGEST
        data = self.new_rows if split == "predict" else self.data
        return BatchLoader(data[split], batch_size, shuffle=shuffle and not self._overfits, **self._place())

    @property
    def _overfits(self) -> bool:
        return bool(self.trainer and self.trainer.overfit_batches)  # type: ignore[attr-defined]  # set by a connector

    @property
    def _train_batch_size(self) -> int:
        """Rows of a process's batch of train."""
        return self.batch_size or default_batch_size(self.data["train"].rows // self._place()["world_size"])

    def _place(self) -> dict[str, Any]:
        """What every loader is told of this process and of the data."""
        place: dict[str, Any] = {"seed": self.order_seed, "rank": 0, "world_size": 1, "identity": self.identity}
        if self.trainer:
            trainer = self.trainer
            place |= {"rank": trainer.global_rank, "world_size": trainer.world_size}
            place["device"] = trainer.strategy.root_device
        return place

    # ---- preparing

    def _prepare(self) -> None:
        name, links = type(self).__name__, self.read_links
        if self.like:
            self.like.check_features(self.recipe, name)
        recipe = replace(self.recipe, origin=self.origin)
        prepare(recipe, reader_of(self), self.folder, name=name, links=links, like=self.like, tally=self.tally)

    def _folder_of(
        self, recipe: Recipe, files: Sequence[Path], like: Encoding | None, options: Mapping[str, Any]
    ) -> Path:
        name = type(self).__name__
        plain = {"name": name, "options": options, "recipe": _plain(recipe), "like": like and like.identity}
        digest = fingerprint(plain, files, self.prepared, repeats=self.repeats)
        return self.prepared / f"{name}-{digest[:16]}"

    @cached_property
    def _new_files(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(path for pattern in self.predict or () for path in self._new(pattern)))

    def _new(self, pattern: str) -> list[Path]:
        """Files of a pattern relative to `root` or, as new rows are seldom kept with the old ones, to where we are."""
        here, there = ([path.absolute() for path in found(folder, pattern)] for folder in (Path(), self.root))
        if here and there and [path.resolve() for path in here] != [path.resolve() for path in there]:
            raise DataError(f"predict={pattern}: in {Path.cwd()} and in {self.root} are files of that name. Say which.")
        return here or there or matches(self.root, pattern, "predict")

    def _read_new(self) -> Iterator[pl.DataFrame]:
        types = table_types(replace(self.recipe, split=GivenSplit(FILE_SPLIT), labelled=False))
        for path in self._new_files:
            for rows in numbered(self.read_table(path, types), path, several=len(self._new_files) > 1):
                yield rows.with_columns(pl.lit("predict").alias(FILE_SPLIT))


def _plain(recipe: Recipe) -> Any:
    kinds = [type(column).__name__ for column in recipe.columns]
    return json.loads(json.dumps({**asdict(recipe), "kinds": kinds, "split_kind": type(recipe.split).__name__}))
