"""Ali-CCP (Ma et al., SIGIR 2018): impressions of Taobao's recommender with clicks and conversions."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import polars as pl

from mtlzoo.datamodules.base import MultiTaskDataModule
from mtlzoo.datamodules.columns import CategoricalColumn, GivenSplit, Label, Recipe, SequenceColumn
from mtlzoo.datamodules.download import obtain
from mtlzoo.datamodules.download.finding import present
from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError
from mtlzoo.datamodules.hashing import hash_values, uniform
from mtlzoo.datamodules.logs.lookup import Found, KeyIndex
from mtlzoo.datamodules.prepare.joined import Joined
from mtlzoo.datamodules.reading import read_csv
from mtlzoo.datamodules.reading.feature_strings import FeatureStrings
from mtlzoo.datamodules.values.domains import Domain, flag, text, whole

FIELDS = MappingProxyType(
    {
        "user_id": "101",
        "category_history": "109_14",
        "shop_history": "110_14",
        "brand_history": "127_14",
        "intention_history": "150_14",
        "profile": "121",
        "profile_group": "122",
        "gender": "124",
        "age": "125",
        "consumption_1": "126",
        "consumption_2": "127",
        "occupation": "128",
        "geography": "129",
        "item_id": "205",
        "category_id": "206",
        "shop_id": "207",
        "intention": "210",
        "brand_id": "216",
        "category_cross": "508",
        "shop_cross": "509",
        "brand_cross": "702",
        "intention_cross": "853",
        "position": "301",
    }
)
"""Features and the publisher's numbers of their fields."""
SEQUENCES = MappingProxyType(
    {
        "category_history": 10,
        "shop_history": 10,
        "brand_history": 10,
        "intention_history": 10,
        "intention": 5,
        "intention_cross": 5,
    }
)
"""Fields that may hold several ids per row, and how many are kept."""
_STRINGS = {"count": whole(), "strings": text(missing=True)}
SKELETON = {"sample_id": whole(), "click": flag(), "conversion": flag(), "index": text(), **_STRINGS}
COMMON = {"index": text("[0-9a-f]{16}", "16 hexadecimal digits"), **_STRINGS}
"""What the fields of both files may hold; the strings have a parser of their own."""
HELD_OUT = {"train": 0.1, "test": 0.5}
"""Share of a file's rows that are validation where validation comes from it."""
BLOCK = 4 << 20
"""Bytes that are parsed at once."""


class AliCCP(MultiTaskDataModule):
    r"""Impressions with two binary tasks, `click` (CTR) and `conversion`, which counts over all rows (CTCVR).

    * Each row of ``sample_skeleton_*.csv`` names a row of ``common_features_*.csv``, which holds what many rows have in
      common; a feature is taken from the file that has it. `FIELDS` says which field of the files each feature is.
    * Fields of `sequences` stay whole: several ids per row, those of the largest values (log counts) where there are
      more. Code that makes a dictionary of a row keeps but the last. The values themselves are no features.
    * Rows that convert without a click are dropped, as everybody does, so that the tasks are a funnel.
    * Metrics by group are by user; rows without user id are grouped by their row of common features.
    * Looks for both files of train and of test, plain or ``.gz``, at `root`, ``root/sample_train`` and
      ``root/sample_test``; where they are missing, ``sample_train.tar.gz`` and ``sample_test.tar.gz`` are unpacked.

    While it is prepared, the common features of one part are in memory: 0.25 GB for the 884,212 rows of test with the
    default lengths, and 0.4 GB more while they are read.

    Licence: Tianchi's terms, said to be CC BY-NC-SA 4.0. Source: https://tianchi.aliyun.com/dataset/408 (login).
    Citation: Ma et al., Entire Space Multi-Task Model, SIGIR 2018, doi 10.1145/3209978.3210104.

    Args:
        root: Folder of the files, see above.
        fields: Features, by names of `FIELDS`. Default: all 23, those of torch-rechub. AITM (KDD 2021) uses 18: without
            the four histories and `intention`.
        sequences: How many ids are kept of fields that hold several; given lengths replace those of `SEQUENCES`.
        min_count: Ids seen less often in train are unknown: 10 as in torch-rechub; AITM's code asks for 12.
        val_from: Where validation comes from: ``train`` (a tenth of its rows at random, as in AITM; test stays whole)
            or ``test`` (half of its rows, as in torch-rechub).
        split_seed: Seed of that draw.
        base: `prepared`, `batch_size`, `eval_batch_size`, `shuffle_seed`: see `MultiTaskDataModule`.

    Raises:
        ValueError: An unknown or repeated field, a length below 1, an unknown `val_from`.
    """

    licence = "Tianchi's terms, said to be CC BY-NC-SA 4.0"
    citation = "Ma et al., Entire Space Multi-Task Model, SIGIR 2018, doi 10.1145/3209978.3210104"
    url = "https://tianchi.aliyun.com/dataset/408"

    def __init__(
        self,
        root: str | PathLike[str] = "data/ali-ccp",
        *,
        fields: Sequence[str] = tuple(FIELDS),
        sequences: Mapping[str, int] | None = None,
        min_count: int = 10,
        val_from: Literal["train", "test"] = "train",
        split_seed: int = 0,
        **base: Any,
    ) -> None:
        super().__init__(root, **base)
        lengths = {**SEQUENCES, **(sequences or {})}
        if wrong := [name for name in (*fields, *lengths) if name not in FIELDS]:
            raise ValueError(f"AliCCP: fields {wrong} are unknown; allowed are {list(FIELDS)}.")
        if not fields or len(set(fields)) < len(fields):
            raise ValueError(f"AliCCP: fields={list(fields)}; name at least one, and each once.")
        if wrong := [name for name in ("user_id", "item_id") if name in lengths]:
            raise ValueError(f"AliCCP: sequences={sequences}; {wrong} name the user and the item, one id per row.")
        if short := {name: length for name, length in lengths.items() if length < 1}:
            raise ValueError(f"AliCCP: sequences={short}; allowed are lengths >= 1.")
        if val_from not in HELD_OUT:
            raise ValueError(f"AliCCP: val_from={val_from!r}; allowed are {list(HELD_OUT)}.")
        self.fields = tuple(fields)
        self.lengths = {name: lengths[name] for name in fields if name in lengths}
        self.min_count, self.val_from, self.split_seed = min_count, val_from, split_seed

    @cached_property
    def recipe(self) -> Recipe:
        """A categorical column or a sequence per field; the split is a column that `read` makes."""
        return Recipe(
            columns=tuple(
                SequenceColumn(name, self.lengths[name], min_count=self.min_count)
                if name in self.lengths
                else CategoricalColumn(name, min_count=self.min_count)
                for name in self.fields
            ),
            labels=(Label("click"), Label("conversion")),
            split=GivenSplit("split"),
            user="user_id" if "user_id" in self.fields else None,
            item="item_id" if "item_id" in self.fields else None,
            group="group",
            ids=("sample_id",),
        )

    def options(self) -> Mapping[str, Any]:
        """What `read` depends on beyond the recipe."""
        return {"val_from": self.val_from, "split_seed": self.split_seed}

    def files(self) -> tuple[Path, ...]:
        """Skeleton and common features of train, then of test; unpacks the archives where they are missing.

        Raises:
            DatasetNotFoundError: One of them is missing and so is its archive.
        """
        return (*self._files("train"), *self._files("test"))

    def read(self) -> Iterator[pl.DataFrame]:
        """Rows of train, then of test, with their common features, in the order of the skeletons."""
        names = ("sample_id", "click", "conversion", "split", "group", *self.fields)
        yield from (joined.plain(names) for joined in self.read_joined())

    def read_joined(self) -> Iterator[Joined]:
        """As `read`, with the common features of a part in one table."""
        paths = iter(self.files())
        for part, skeleton, common in zip(("train", "test"), paths, paths, strict=True):
            single = [FIELDS[name] for name in dict.fromkeys(("user_id", *self.fields)) if name not in self.lengths]
            several = {FIELDS[name]: length for name, length in self.lengths.items()}
            table = _CommonFeatures(common, single, several)
            parser = FeatureStrings(
                skeleton.name,
                [field for field in single if field not in table.columns],
                {field: length for field, length in several.items() if field not in table.columns},
            )
            shared = self._named(table.columns)
            for rows in _read(skeleton, SKELETON, parser):
                if twice := sorted(parser.seen & set(table.columns.columns)):
                    raise DataError(f"{skeleton} and {common}: both hold fields {twice}. They are not as published.")
                rows = self._clicked(rows)
                places = table.places(rows["index"], skeleton)
                groups = table.groups.gather(pl.Series(places))
                if (user := FIELDS["user_id"]) in rows.columns:
                    groups = rows[user].cast(pl.Int64).fill_null(groups).rename("group")
                own = rows.select("sample_id", "click", "conversion", self._split(part, rows["sample_id"]), groups)
                yield Joined(own.hstack(self._named(rows)), shared, places)

    def _named(self, columns: pl.DataFrame) -> pl.DataFrame:
        """Columns of fields that are features, by the features' names."""
        return columns.select(pl.col(FIELDS[name]).alias(name) for name in self.fields if FIELDS[name] in columns)

    def _clicked(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows without those that convert without a click: few, or the columns are not what they should be."""
        some = (rows["click"] == 1) | (rows["conversion"] == 1)
        good = (rows["click"] == 1) | (rows["conversion"] == 0)
        kept = rows if good.all() else rows.filter(good)
        reason = "conversion without click (among rows with either)"
        self.tally.drop(reason, len(rows) - len(kept), of=int(some.sum()), most=0.5)
        return kept

    def _split(self, part: str, samples: pl.Series) -> pl.Series:
        if part != self.val_from:
            return pl.Series("split", [part]).new_from_index(0, len(samples))
        held_out = uniform(hash_values(samples), self.split_seed) < HELD_OUT[part]
        return pl.Series("split", np.where(held_out, "val", part))

    def _files(self, part: str) -> list[Path]:
        names = [f"{stem}_{part}.csv" for stem in ("sample_skeleton", "common_features")]
        archive = self.root / f"sample_{part}.tar.gz"
        obtain(self.url, archive, there=lambda: all(map(self._find, names)), allowed=False)
        found = {name: path for name in names if (path := self._find(name))}
        if missing := [name for name in names if name not in found]:
            raise DatasetNotFoundError(
                f"AliCCP: no {missing[0]}(.gz) and no {archive.name} in {self.root}. Log in at {self.url}, download "
                "sample_train.tar.gz and sample_test.tar.gz into that folder, or give theirs as root=."
            )
        return list(found.values())

    def _find(self, name: str) -> Path | None:
        folders = (self.root, self.root / "sample_train", self.root / "sample_test")
        return next((path for folder in folders for path in present(folder, [name])), None)


class _CommonFeatures:
    """The common features of one part in memory: a column per field, lists as offsets and ids, found by their index."""

    def __init__(self, path: Path, single: Sequence[str], several: Mapping[str, int]) -> None:
        self.path = path
        parser = FeatureStrings(path.name, single, several)
        keys, parts = [], []
        for rows in _read(path, COMMON, parser):
            keys.append(rows["index"])
            parts.append(rows.drop("index"))
        self._index = KeyIndex(pl.concat(keys), path.name)
        self.columns = pl.concat(parts).select(name for name in (*single, *several) if name in parser.seen).rechunk()
        own = pl.Series("group", -1 - np.arange(len(self.columns)))
        users = self.columns[user] if (user := FIELDS["user_id"]) in self.columns.columns else own
        self.groups = users.cast(pl.Int64).fill_null(own).rename("group")
        """The user of each row, and a negative number of its own where there is none."""

    def places(self, index: pl.Series, skeleton: Path) -> Found:
        """Where the common features of each row are."""
        places = self._index.rows(index)
        if (places < 0).any():
            key = index[int(np.argmin(places))]
            raise DataError(f"{skeleton}: the index {key!r} is not in {self.path}. Unpack both files again.")
        return places


def _read(path: Path, columns: Mapping[str, Domain], parser: FeatureStrings) -> Iterator[pl.DataFrame]:
    """The columns of either file, with one per field in place of the strings."""
    return read_csv(path, columns=columns, header=tuple(columns), quote=False, batch_bytes=BLOCK, then=parser.of_rows)
