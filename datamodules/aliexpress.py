"""AliExpress (Li et al., CIKM 2020): results of a shop's search in four countries, with clicks and purchases."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from mtlzoo.datamodules.base import MultiTaskDataModule
from mtlzoo.datamodules.columns import CategoricalColumn, GivenSplit, Label, NumericColumn, Recipe
from mtlzoo.datamodules.download import obtain
from mtlzoo.datamodules.download.finding import present, there
from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError
from mtlzoo.datamodules.hashing import hash_values, uniform
from mtlzoo.datamodules.logs.lookup import KeyIndex
from mtlzoo.datamodules.reading import read_csv
from mtlzoo.datamodules.reading.tally import MISSED
from mtlzoo.datamodules.values.checks import require
from mtlzoo.datamodules.values.domains import flag, number, text, whole

COUNTRIES = ("NL", "ES", "FR", "US")
USER = ("search_id", *(f"user_{i}" for i in range(2, 34)))
"""Fields of a user file, which has no header; the publisher's numbers."""
ITEM = ("search_id", *(f"item_{i}" for i in range(2, 50)))
"""Fields of an item file, which has no header; the last is 0 (shown), 1 (clicked) or 2 (bought)."""
CODES = (
    *(f"user_{i}" for i in (*range(2, 9), 32, 33)),
    *(f"item_{i}" for i in (19, 34, 35, 36, 40, 41, 42)),
)
"""Fields that are codes: ``categorical_1`` .. ``categorical_16`` of MTReclib, in this order."""
NUMBERS = (
    *(f"user_{i}" for i in range(9, 32)),
    *(f"item_{i}" for i in range(2, 49) if f"item_{i}" not in CODES),
)
"""Fields that are quantities: ``numerical_1`` .. ``numerical_63`` of MTReclib, in this order."""
NAMES = {
    **{field: f"categorical_{i}" for i, field in enumerate(CODES, 1)},
    **{field: f"numerical_{i}" for i, field in enumerate(NUMBERS, 1)},
}
MTRECLIB = ("search_id", *NAMES.values(), "click", "conversion")
"""Columns of MTReclib's files, which have a header."""
SEARCH, CODE = text(), whole(0, 2**31 - 1, missing=True, points=True)
DOMAINS = {
    "search_id": SEARCH,
    **dict.fromkeys(CODES, CODE),
    **dict.fromkeys(NUMBERS, number(missing=True, dtype=pl.Float32)),
    "item_49": whole(0, 2, points=True),
}
"""What the publisher's fields may hold; codes may be written as ``3`` or ``3.0``."""
LABELS = dict.fromkeys(("click", "conversion"), flag(points=True))
STEMS = ("user_train", "item_train", "user_test", "item_test")
HELD_OUT = {"train": 0.1, "test": 0.5}
"""Share of a file's searches that are validation where validation comes from it."""
BLOCK = 16 << 20
"""Bytes that are parsed at once; lines are long here."""


class AliExpress(MultiTaskDataModule):
    """Impressions of a search with two binary tasks, `click` (CTR) and `conversion`, over all rows (CTCVR).

    * Reads the publisher's files, a pair for train and one for test: a row per search with the user's features, a row
      per impression with the item's and the label. A search that is in one of them only is left out (inner join).
    * Reads MTReclib's ``train.csv`` and ``test.csv``, made of these files, where the publisher's are missing. Columns
      have MTReclib's names in both cases; `NAMES` says which field each is.
    * Features: 16 codes, 63 numbers, as they are: the publisher has scaled them. The number of the search is none.
    * Looks for ``nl_user_train.csv`` and so on, plain or ``.gz``, at `root` or up to two folders below; where they are
      missing, ``aliexpress_NL_datasets.zip`` and the four archives in it are unpacked. MTReclib's files are looked for
      at ``root/AliExpress_NL`` and `root`.

    While it is prepared, the searches of one part are in memory, about 0.3 GB per million; impressions are not.

    Licence: Tianchi's terms. Source: https://tianchi.aliyun.com/dataset/74690 (login). Citation: Li et al., Improving
    Multi-Scenario Learning to Rank in E-commerce by Exploiting Task Relationships in the Label Space, CIKM 2020.

    Args:
        root: Folder of the files, see above.
        country: ``NL``, ``ES``, ``FR`` or ``US``.
        val_from: Where validation comes from, as nobody published any: ``train`` (a tenth of its searches, test stays
            whole) or ``test`` (half of its searches). MTReclib and torch-rechub stop early on test itself.
        split_seed: Seed of that draw, which keeps the impressions of a search together.
        base: `prepared`, `batch_size`, `eval_batch_size`, `shuffle_seed`: see `MultiTaskDataModule`.

    Raises:
        ValueError: An unknown country or `val_from`.
    """

    licence = "Tianchi's terms"
    citation = "Li et al., Improving Multi-Scenario Learning to Rank in E-commerce, CIKM 2020"
    url = "https://tianchi.aliyun.com/dataset/74690"

    def __init__(
        self,
        root: str | PathLike[str] = "data/aliexpress",
        *,
        country: Literal["NL", "ES", "FR", "US"] = "NL",
        val_from: Literal["train", "test"] = "train",
        split_seed: int = 0,
        **base: Any,
    ) -> None:
        super().__init__(root, **base)
        if country not in COUNTRIES:
            raise ValueError(f"AliExpress: country={country!r}; allowed are {list(COUNTRIES)}.")
        if val_from not in HELD_OUT:
            raise ValueError(f"AliExpress: val_from={val_from!r}; allowed are {list(HELD_OUT)}.")
        self.country, self.val_from, self.split_seed = country, val_from, split_seed

    @cached_property
    def recipe(self) -> Recipe:
        """16 categorical and 63 numeric features; the split is a column that `read` makes."""
        return Recipe(
            columns=(
                *(CategoricalColumn(NAMES[field]) for field in CODES),
                *(NumericColumn(NAMES[field], transform="none") for field in NUMBERS),
            ),
            labels=(Label("click"), Label("conversion")),
            split=GivenSplit("split"),
            ids=("search_id",),
        )

    def options(self) -> Mapping[str, Any]:
        """What `read` depends on beyond the recipe."""
        return {"val_from": self.val_from, "split_seed": self.split_seed}

    def files(self) -> tuple[Path, ...]:
        """The publisher's user and item file of train, then of test; or MTReclib's two files.

        Raises:
            DatasetNotFoundError: Neither is complete, and there is no archive to unpack.
        """
        obtain(self.url, self._archive, there=lambda: all(map(self._anything, STEMS)), allowed=False)
        raw = {stem: path for stem in STEMS if (path := self._publishers(stem))}
        if len(raw) == len(STEMS):
            return tuple(raw.values())
        for folder in (self.root / f"AliExpress_{self.country}", self.root):
            if len(ready := present(folder, ("train.csv", "test.csv"))) == 2:
                return ready
        missing = [f"{self.country.lower()}_{stem}.csv" for stem in STEMS if stem not in raw]
        raise DatasetNotFoundError(
            f"AliExpress: no {', '.join(missing)} in {self.root} or folders in it, nor {self._archive.name}, nor "
            f"MTReclib's AliExpress_{self.country}/train.csv and test.csv. Log in at {self.url}, download "
            f"{self._archive.name} into that folder, or give the folder of the files as root=."
        )

    def read(self) -> Iterator[pl.DataFrame]:
        """Impressions of train, then of test, in file order."""
        files = self.files()
        half = len(files) // 2
        for part, paths in (("train", files[:half]), ("test", files[half:])):
            for rows in self._ready(*paths) if half == 1 else self._joined(*paths):
                yield rows.with_columns(self._split(part, rows["search_id"]))

    def _ready(self, path: Path) -> Iterator[pl.DataFrame]:
        """Rows of a file of MTReclib."""
        columns = {NAMES.get(field, field): domain for field, domain in DOMAINS.items() if field != "item_49"}
        for rows in read_csv(path, columns=columns | LABELS, quote=False, batch_bytes=BLOCK):
            funnel = rows["conversion"] <= rows["click"]
            require(funnel, rows["conversion"], "conversion", None, f"0 where click is 0 ({path.name})")
            yield rows

    def _joined(self, user_path: Path, item_path: Path) -> Iterator[pl.DataFrame]:
        """Impressions with the features of their searches."""
        searches = pl.concat(rows.unique(maintain_order=True) for rows in _published(user_path, USER))
        again = searches["search_id"].is_duplicated()
        searches = pl.concat([searches.filter(~again), searches.filter(again).unique(maintain_order=True)])
        index = KeyIndex(searches["search_id"], user_path.name)
        searches = searches.drop("search_id").rechunk()
        joined = 0
        for rows in _published(item_path, ITEM):
            places = index.rows(rows["search_id"])
            known = places >= 0
            rows = self.tally.keep(rows, known, f"search not in {user_path.name}", most=MISSED)
            joined += len(rows)
            label = rows["item_49"]
            rows = rows.hstack(searches.select(pl.all().gather(pl.Series(places[known]))))
            yield rows.with_columns(click=label >= 1, conversion=label == 2)
        if not joined:
            raise DataError(f"{item_path}: none of its searches is in {user_path}. Are they of one country and part?")

    def _split(self, part: str, searches: pl.Series) -> pl.Series:
        if part != self.val_from:
            return pl.Series("split", [part]).new_from_index(0, len(searches))
        held_out = uniform(hash_values(searches), self.split_seed) < HELD_OUT[part]
        return pl.Series("split", np.where(held_out, "val", part))

    # ---- where the publisher's files are

    @property
    def _archive(self) -> Path:
        return self.root / f"aliexpress_{self.country}_datasets.zip"

    def _publishers(self, stem: str) -> Path | None:
        """The file, unpacked first where only its archive is there."""
        if archive := self._find(stem, ".zip"):
            obtain(self.url, archive, there=lambda: self._find(stem, ".csv", ".csv.gz"), allowed=False)
        return self._find(stem, ".csv", ".csv.gz")

    def _anything(self, stem: str) -> Path | None:
        return self._find(stem, ".csv", ".csv.gz", ".zip")

    def _find(self, stem: str, *ends: str) -> Path | None:
        names = [f"{country}_{stem}{end}" for end in ends for country in (self.country.lower(), self.country)]
        places = (f"{folder}{name}" for name in names for folder in ("", "*/", "*/*/"))
        return next((path for place in places for path in sorted(self.root.glob(place)) if there(path)), None)


def _published(path: Path, fields: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Rows of a file of the publisher, with MTReclib's names."""
    columns = {field: DOMAINS[field] for field in fields}
    for rows in read_csv(path, columns=columns, header=fields, quote=False, batch_bytes=BLOCK):
        yield rows.rename({field: NAMES[field] for field in fields if field in NAMES})
