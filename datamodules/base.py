"""The base class of every data module: raw files in, batches out."""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any

import lightning as L
import polars as pl

from mtlzoo.datamodules.columns import Recipe
from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.fingerprint import fingerprint
from mtlzoo.datamodules.loader import LARGEST, BatchLoader, default_batch_size
from mtlzoo.datamodules.prepare import prepare
from mtlzoo.datamodules.prepared import PreparedData
from mtlzoo.datamodules.tally import Tally
from mtlzoo.schema import FeatureSchema


class MultiTaskDataModule(L.LightningDataModule, ABC):
    """Prepares a data set once and loads whole batches from memory-mapped columns.

    A subclass says what its raw files are (`files`), yields their rows (`read`) and declares its columns (`recipe`).

    Args:
        root: Folder of the publisher's files.
        prepared: Folder under which prepared data are kept, one sub-folder per fingerprint of raw files and options.
            Default: the environment's ``MTLZOO_CACHE``, or ``~/.cache/mtlzoo``.
        batch_size: Rows per batch and process. None: the largest power of two that gives an epoch 64 steps or more,
            from 32 rows for a small table to 4096.
        eval_batch_size: Rows per batch in validation, test and prediction; `batch_size` if None, and 4096 without one.
        shuffle_seed: Seed of the row order; the order of an epoch depends on it and the epoch alone.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        prepared: str | os.PathLike[str] | None = None,
        batch_size: int | None = None,
        eval_batch_size: int | None = None,
        shuffle_seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if value is not None and value < 1:
                raise ValueError(f"{type(self).__name__}: {name}={value}; allowed are numbers >= 1.")
        self.root = Path(root).expanduser()
        cache = prepared or os.environ.get("MTLZOO_CACHE") or Path("~/.cache/mtlzoo")
        self.prepared = Path(cache).expanduser()
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.shuffle_seed = shuffle_seed
        self.tally = Tally()

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

    # ---- what everybody uses

    @cached_property
    def folder(self) -> Path:
        """Folder of the prepared data; named after data set and fingerprint."""
        plain = {"name": type(self).__name__, "options": dict(self.options()), "recipe": _plain(self.recipe)}
        digest = fingerprint(plain, self.files(), self.prepared)
        return self.prepared / f"{type(self).__name__}-{digest[:16]}"

    @cached_property
    def schema(self) -> FeatureSchema:
        """Features and tasks; prepares the data where that has not been done."""
        return self.data.schema

    @cached_property
    def data(self) -> PreparedData:
        """The prepared data, opened; prepared first where that has not been done."""
        self.prepare_data()
        return PreparedData(self.folder)

    def prepare_data(self) -> None:
        """Prepares the data unless a finished preparation is there; other processes wait for the first."""
        prepare(self.recipe, self.read, self.folder, name=type(self).__name__, tally=self.tally)

    def setup(self, stage: str | None = None) -> None:
        """Opens the prepared data.

        Raises:
            DataError: A training is to validate, and has no rows for that.
        """
        assert self.data  # opening is the effect
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
        return self._loader("test")

    def predict_dataloader(self) -> BatchLoader:
        """Batches of the test split, in order."""
        return self._loader("test")

    def _loader(self, split: str, *, shuffle: bool = False) -> BatchLoader:
        batch_size = self._train_batch_size if shuffle else self.eval_batch_size or self.batch_size or LARGEST
        return BatchLoader(self.data[split], batch_size, shuffle=shuffle and not self._overfits, **self._place())

    @property
    def _overfits(self) -> bool:
        return bool(self.trainer and self.trainer.overfit_batches)

    @property
    def _train_batch_size(self) -> int:
        """Rows of a process's batch of train."""
        return self.batch_size or default_batch_size(self.data["train"].rows // self._place()["world_size"])

    def _place(self) -> dict[str, int]:
        """What every loader is told of this process."""
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return {"seed": self.shuffle_seed, "rank": rank, "world_size": world_size}


def _plain(recipe: Recipe) -> Any:
    kinds = [type(column).__name__ for column in recipe.columns]
    return json.loads(json.dumps({**asdict(recipe), "kinds": kinds, "split_kind": type(recipe.split).__name__}))
