"""MovieLens (Harper and Konstan, TiiS 2015): ratings of films, with genres and interactions as further tasks."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from mtlzoo.datamodules.columns import (
    CategoricalColumn,
    Column,
    GivenSplit,
    Label,
    RandomSplit,
    Recipe,
    SequenceColumn,
    Split,
    UserSplit,
)
from mtlzoo.datamodules.download import obtain
from mtlzoo.datamodules.download.finding import present
from mtlzoo.datamodules.download.publisher import place_of
from mtlzoo.datamodules.errors import DatasetNotFoundError
from mtlzoo.datamodules.logs import SideTable
from mtlzoo.datamodules.logs.negatives import NegativeSampler
from mtlzoo.datamodules.logs.once import Once
from mtlzoo.datamodules.movielens_files import EDITIONS, Version
from mtlzoo.datamodules.prepare.splitting import splitter
from mtlzoo.datamodules.ranking import RankingDataModule

TASKS = ("rating", "genres", "interaction", "recommend", "alignment")
GIVEN = ("u1", "u2", "u3", "u4", "u5", "ua", "ub")
"""Splits that 100K brings along."""


class MovieLens(RankingDataModule):
    """Ratings of films, with the genres of the film and whether the user rated it as two further tasks.

    * Tasks: `rating`, a regression (standardised, but not beside `recommend` or `alignment`). `genres`, one label per
      genre of the film; not observed where none are listed.
      `interaction`, binary: 1 in the rows of the file; beside each stand `negatives` rows with films that the user has
      rated nowhere in the file, where it is 0 and the rating is not observed. `recommend` ranks the films for a user
      (ratings above `positive_from` are positive) and `alignment` is DirectAU's: for models with vectors of users and
      items, which draw what a user did not rate by themselves; not together with `interaction`.
    * Features: user, item, the year in the film's title; of 100K and 1M also gender, age, occupation and the first
      three characters of the zip code; the genres where they are no task. The time of a rating is not a feature.
    * Negatives are drawn once, when the data are prepared, uniformly from the films that anybody has rated, those of a
      user without repetition. They are in the split of the rating that they were drawn for.
    * Reads the ratings, the films and, of 100K and 1M, the users at ``root/ml-VERSION`` or `root`, plain or ``.gz``;
      where they are missing, ``root/ml-VERSION.zip``, which is downloaded (5, 6, 190, 250, 228 and 1 MB) if need be.

    Licence: for research, not commercial; 100K and 1M may not be passed on. Source:
    https://grouplens.org/datasets/movielens/. Citation: Harper and Konstan, The MovieLens Datasets: History and
    Context, ACM TiiS 5(4), 2015, doi 10.1145/2827872.

    Args:
        root: Folder of the files, see above.
        version: ``100k``, ``1m``, ``20m``, ``25m``, ``32m`` or ``latest-small``.
        tasks: Any of rating, genres, interaction, recommend and alignment, in this order.
        negatives: Films that the user did not rate per rating: rows, where `interaction` is a task; draws of every
            batch, where `recommend` is.
        positive_from: Ratings above it are positive, where `recommend` is a task.
        split: ``random``: each rating by itself. ``user``: the ratings of each user in order of time, the last are
            test. ``user_random``: each user's ratings in random order, as Yang et al. (PMTRec, IEEE BigData 2024) do
            with val and test of 0.2. ``u1`` to ``u5``, ``ua``, ``ub``: the test file of that name, which 100K brings
            along; validation is drawn from the base file.
        val: Share of the ratings for validation.
        test: Share of the ratings for test; has no meaning where a test file is given.
        seed: Of the split and of the negatives.
        min_count: Users and items with fewer rows in train are "unknown".
        download: Download the archive where the files are missing.
        base: `links_from`, `prepared`, `batch_size`, `eval_batch_size`, `shuffle_seed`: see `RankingDataModule`.

    Raises:
        ValueError: An unknown version, task or split, tasks that exclude each other, or shares that leave no train.
    """

    licence = "GroupLens' terms: research, not commercial; 100K and 1M may not be passed on"
    citation = "Harper and Konstan, The MovieLens Datasets, ACM TiiS 5(4), 2015, doi 10.1145/2827872"
    url = "https://files.grouplens.org/datasets/movielens"

    def __init__(
        self,
        root: str | PathLike[str] = "data/movielens",
        *,
        version: Version = "1m",
        tasks: Sequence[str] = TASKS[:3],
        negatives: int = 1,
        positive_from: float = 3,
        split: str = "random",
        val: float = 0.1,
        test: float = 0.1,
        seed: int = 0,
        min_count: int = 1,
        download: bool = True,
        **base: Any,
    ) -> None:
        super().__init__(root, negatives=negatives, **base)
        if version not in EDITIONS:
            raise ValueError(f"MovieLens: version={version!r}; allowed are {list(EDITIONS)}.")
        if not tasks or set(tasks) - set(TASKS):
            raise ValueError(f"MovieLens: tasks={list(tasks)}; allowed are {list(TASKS)}.")
        allowed = ["random", "user", "user_random", *(GIVEN if version == "100k" else ())]
        if split not in allowed:
            raise ValueError(f"MovieLens: split={split!r}; allowed with version {version} are {allowed}.")
        if min(val, test) < 0 or val + test >= 1:
            raise ValueError(f"MovieLens: val={val}, test={test}; allowed are shares >= 0 that leave some for train.")
        if "interaction" in tasks and {"recommend", "alignment"} & set(tasks):
            raise ValueError(
                f"MovieLens: tasks={list(tasks)}; interaction adds rows that recommend and alignment would take for "
                "films that the user rated. Leave one side out."
            )
        self.version, self.tasks, self.split, self.positive_from = version, tuple(tasks), split, positive_from
        self.val, self.test, self.seed, self.min_count, self.download = val, test, seed, min_count, download
        self._format = EDITIONS[version].format

    @cached_property
    def recipe(self) -> Recipe:
        """Ids, what is known of user and film, and the labels; the split is a column that `read` makes."""
        genres = () if "genres" in self.tasks else (SequenceColumn("genres", max_length=10),)
        columns: tuple[Column, ...] = (
            CategoricalColumn("user", min_count=self.min_count),
            CategoricalColumn("item", min_count=self.min_count),
            *self._format.person,
            CategoricalColumn("year"),
            *genres,
        )
        labels = {
            # As PMTRec has it: stars are compared with products of the vectors that rank.
            "rating": Label("rating", kind="regression", standardize=not {"recommend", "alignment"} & set(self.tasks)),
            "genres": Label("genres", kind="multilabel", classes=len(self._format.genres)),
            "interaction": Label("interaction"),
            "recommend": Label("recommend", kind="ranking"),
            "alignment": Label("alignment", kind="alignment"),
        }
        return Recipe(
            columns=columns,
            labels=tuple(labels[task] for task in self.tasks),
            split=GivenSplit("split"),
            user="user",
            item="item",
            group="user",
            ids=("user", "item", "timestamp"),
        )

    def options(self) -> Mapping[str, Any]:
        """What `read` depends on beyond the recipe."""
        return {
            "version": self.version,
            "negatives": self.negatives if "interaction" in self.tasks else 0,
            "positive_from": self.positive_from if "recommend" in self.tasks else 0,
            **{name: getattr(self, name) for name in ("split", "val", "test", "seed")},
        }

    def files(self) -> tuple[Path, ...]:
        """Ratings, films and, where there are any, users; unpacks or downloads the archive where they are missing.

        Raises:
            DatasetNotFoundError: No ratings, or a file missing beside them.
        """
        archive, url = self.root / f"{self._name}.zip", f"{self.url}/{self._name}.zip"
        md5 = "" if archive.is_file() else EDITIONS[self.version].md5  # files packed again are as good
        obtain(url, archive, there=lambda: self._folder, md5=md5, allowed=self.download, into=self._unpacked)
        if self._folder is None:
            raise DatasetNotFoundError(
                f"MovieLens: no {self._ratings_names[0]}(.gz) in {[str(folder) for folder in self._folders]}. Put "
                f"{url} or its contents in {self.root}, give their folder as root=, or allow download=True and writing."
            )
        return tuple(map(self._required, (*self._ratings_names, *self._format.names[1:])))

    def read(self) -> Iterator[pl.DataFrame]:
        """Ratings in file order, each followed by its negatives, with features, labels and split."""
        self.prepared.mkdir(parents=True, exist_ok=True)
        # Named so that the next preparation removes what a killed process left behind.
        with TemporaryDirectory(prefix=f".{self.folder.name}.", suffix=".partial", dir=self.prepared) as name:
            split = splitter(self._split, Path(name) / "split")
            sampler = None
            if "interaction" in self.tasks:
                sampler = NegativeSampler(Path(name) / "negatives", per_row=self.negatives, seed=self.seed)
            first, once = 1, Once("MovieLens' ratings")
            for rows in self._ratings():
                split.add(rows, range(first, first + len(rows)))
                once.add(rows["user"], rows["item"])
                if sampler:
                    sampler.add(rows["user"], rows["item"])
                first += len(rows)
            once.finish()
            split.finish()
            if sampler:
                sampler.finish()
            films, people = self._tables()
            first = 1
            for rows in self._ratings():
                numbers = range(first, first + len(rows))
                first = numbers.stop
                codes = pl.Series(split.codes(numbers)).cast(pl.Int64)
                given = pl.when(pl.col("given") == "test").then(pl.lit("test"))
                rows = rows.with_columns(split=given.otherwise(pl.Series(split.names).gather(codes)))
                rows = rows.with_columns(recommend=pl.when(pl.col("rating") > self.positive_from).then(1))
                if sampler:
                    rows = _with_negatives(rows, sampler.of(range(numbers.start - 1, numbers.stop - 1)))
                rows = rows.hstack(films.of(rows["item"]))
                yield rows.hstack(people.of(rows["user"])) if people else rows

    def _tables(self) -> tuple[SideTable, SideTable | None]:
        """Films, and users where they have a table."""
        _, film_file, *user_file = self._format.names
        path = self._required(film_file)
        films = SideTable(self._format.films(path), "item", path, once=True, tally=self.tally)
        if not user_file:
            return films, None
        path = self._required(user_file[0])
        return films, SideTable(self._format.users(path), "user", path, once=True, tally=self.tally)

    def _ratings(self) -> Iterator[pl.DataFrame]:
        """Rows of the ratings' file or files, with `given`: the part that a file is."""
        for name in self._ratings_names:
            for rows in self._format.ratings(self._required(name)):
                yield rows.with_columns(given=pl.lit(name.rpartition(".")[2]))

    @property
    def _split(self) -> Split:
        if self.split in GIVEN:
            return RandomSplit(self.val, 0.0, self.seed)
        if self.split == "random":
            return RandomSplit(self.val, self.test, self.seed)
        order, drawn = ("timestamp", None) if self.split == "user" else ("", self.seed)
        shares: dict[str, Any] = {"val": self.val, "test": self.test, "rounding": "up"}
        return UserSplit("user", order, **shares, seed=drawn)

    # ---- where the files are

    @property
    def _name(self) -> str:
        return f"ml-{self.version}"

    @property
    def _ratings_names(self) -> tuple[str, ...]:
        given = self.split in GIVEN
        return (f"{self.split}.base", f"{self.split}.test") if given else (self._format.names[0],)

    @property
    def _unpacked(self) -> Path:
        return place_of(self.root / f"{self._name}.zip", self.prepared)

    @property
    def _folders(self) -> list[Path]:
        return list(dict.fromkeys([self.root / self._name, self.root, self._unpacked / self._name]))

    @property
    def _folder(self) -> Path | None:
        return next((folder for folder in self._folders if present(folder, self._ratings_names[:1])), None)

    @property
    def _where(self) -> Path:
        folder = self._folder
        assert folder is not None
        return folder

    def _required(self, name: str) -> Path:
        if found := present(self._where, [name]):
            return found[0]
        raise DatasetNotFoundError(
            f"MovieLens: {name}(.gz) is not in {self._where}, beside {self._ratings_names[0]}. It is part of "
            f"{self.url}/{self._name}.zip; give the folder of the whole archive as root=."
        )


def _with_negatives(rows: pl.DataFrame, drawn: pl.Series) -> pl.DataFrame:
    """Each row followed by those with the items drawn for it, which nobody rated."""
    per_row = len(drawn) // max(1, len(rows))
    place = np.repeat(np.arange(len(rows)), 1 + per_row)
    real = np.arange(len(place)) % (1 + per_row) == 0
    items = np.empty(len(place), np.int64)
    items[real], items[~real] = rows["item"], drawn
    known = pl.Series(real)
    return rows[place].with_columns(
        pl.Series("item", items),
        pl.when(known).then(pl.col("rating", "timestamp")),
        known.cast(pl.Int8).alias("interaction"),
    )
