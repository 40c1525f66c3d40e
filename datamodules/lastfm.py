"""LastFM (HetRec 2011, 2K): who listened to which artists how often, friends, and tags."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import polars as pl

from mtlzoo.datamodules.checks import require
from mtlzoo.datamodules.columns import CategoricalColumn, Label, RandomSplit, Recipe, Split, UserSplit
from mtlzoo.datamodules.errors import DatasetNotFoundError
from mtlzoo.datamodules.obtain import obtain
from mtlzoo.datamodules.ranking import RankingDataModule
from mtlzoo.datamodules.reading import read_csv
from mtlzoo.datamodules.side_table import present
from mtlzoo.schema import Links

LABELS = {
    "recommend": Label("recommend", kind="ranking"),
    "plays": Label("plays", kind="regression"),
    "alignment": Label("alignment", kind="alignment"),
    "friends": Label("friends", kind="link"),
    "tags": Label("tags", kind="link"),
}
LINKS = {"friends": Links("friends", "user"), "tags": Links("tags", "item")}
FILES = {"friends": "user_friends.dat", "tags": "user_taggedartists.dat"}
NAME = "hetrec2011-lastfm-2k"


class LastFM(RankingDataModule):
    """92,834 pairs of 1,892 users and the 17,632 artists that they listened to, with friends and tags.

    * Tasks: `recommend` (every artist that a user listened to is to be found), `plays` (log of 1 + how often, a
      regression), `alignment` (DirectAU's), `friends` (whether two users are friends) and `tags` (whether the tag that
      was given to two artists most often is the same one; tags given as often: the smaller id).
    * Features: user and item. Names, pictures and times are not read.
    * Split: ``random``: each pair by itself, 60/20/20 as PMTRec (IEEE BigData 2024) has it on other data. ``user``: the
      same shares of each user's artists. The pairs have no time.
    * Reads ``user_artists.dat`` and, for `friends` and `tags`, ``user_friends.dat`` and ``user_taggedartists.dat``,
      plain or ``.gz``, at ``root/hetrec2011-lastfm-2k`` or `root`; where they are missing,
      ``root/hetrec2011-lastfm-2k.zip``, which is downloaded (3 MB) if need be.

    Licence: non-commercial use, with the citation of Last.fm and HetRec 2011. Source:
    https://grouplens.org/datasets/hetrec-2011/. Citation: Cantador, Brusilovsky and Kuflik, 2nd Workshop on Information
    Heterogeneity and Fusion in Recommender Systems (HetRec 2011), RecSys 2011.

    Args:
        root: Folder of the files, see above.
        tasks: In this order, see above.
        split: ``random`` or ``user``.
        val: Share of validation.
        test: Share of test.
        seed: Of the split.
        download: Download the archive where the files are missing.
        base: `negatives`, `links_from`, `prepared`, `batch_size`, `eval_batch_size`, `shuffle_seed`: see
            `RankingDataModule`.

    Raises:
        ValueError: An unknown task or split.
    """

    licence = "non-commercial"
    citation = "Cantador, Brusilovsky and Kuflik, HetRec 2011, RecSys 2011"
    url = f"https://files.grouplens.org/datasets/hetrec2011/{NAME}.zip"
    md5 = "296d61afe4e8632b173fc2dd3be20ce2"

    def __init__(
        self,
        root: str | PathLike[str] = "data/lastfm",
        *,
        tasks: Sequence[str] = ("recommend", "friends", "tags"),
        split: Literal["random", "user"] = "random",
        val: float = 0.2,
        test: float = 0.2,
        seed: int = 0,
        download: bool = True,
        **base: Any,
    ) -> None:
        super().__init__(root, **base)
        if not tasks or set(tasks) - set(LABELS) or not set(tasks) & {"recommend", "plays"}:
            raise ValueError(
                f"LastFM: tasks={list(tasks)}; allowed are {list(LABELS)}, and recommend or plays, which are of the "
                "rows, must be among them."
            )
        if split not in ("random", "user"):
            raise ValueError(f"LastFM: split={split!r}; allowed are 'random' and 'user'.")
        self.tasks, self.split, self.val, self.test, self.seed = tuple(tasks), split, val, test, seed
        self.download = download

    @cached_property
    def recipe(self) -> Recipe:
        """User and item, the chosen labels and their links."""
        split: Split = (
            RandomSplit(self.val, self.test, self.seed)
            if self.split == "random"
            else UserSplit("user", val=self.val, test=self.test, rounding="up", seed=self.seed)
        )
        return Recipe(
            columns=(CategoricalColumn("user"), CategoricalColumn("item")),
            labels=tuple(LABELS[task] for task in self.tasks),
            split=split,
            user="user",
            item="item",
            group="user",
            ids=("user", "item"),
            links=tuple(LINKS[task] for task in self.tasks if task in LINKS),
        )

    def files(self) -> tuple[Path, ...]:
        """The pairs, and the files of the links; downloads the archive where they are missing.

        Raises:
            DatasetNotFoundError: One is missing.
        """
        archive = self.root / f"{NAME}.zip"
        md5 = "" if archive.is_file() else self.md5  # files packed again are as good
        obtain(self.url, archive, there=lambda: self._folder, md5=md5, allowed=self.download, into=self.root / NAME)
        if self._folder is None:
            raise DatasetNotFoundError(
                f"LastFM: no user_artists.dat(.gz) in {self.root / NAME} or {self.root}. Unpack {self.url} there, give "
                "its folder as root=, or allow download=True and writing."
            )
        return tuple(map(self._required, ["user_artists.dat", *(FILES[task] for task in self.tasks if task in FILES)]))

    def read(self) -> Iterator[pl.DataFrame]:
        """Pairs of user and artist, in file order."""
        types = {"userID": pl.Int64, "artistID": pl.Int64, "weight": pl.Float64}
        first = 1
        for rows in read_csv(self.files()[0], columns=types, separator="\t"):
            numbers = range(first, first + len(rows))
            require(rows["weight"] >= 0, rows["weight"], "weight", numbers, "how often it was played, 0 or more")
            yield rows.select(
                pl.col("userID").alias("user"),
                pl.col("artistID").alias("item"),
                pl.lit(1).alias("recommend"),
                pl.col("weight").log1p().alias("plays"),
            )
            first = numbers.stop

    def read_links(self, name: str) -> Iterator[pl.DataFrame]:
        """Friends, or the main tag of each artist."""
        path = self._required(FILES[name])
        if name == "friends":
            for rows in read_csv(path, columns={"userID": pl.Int64, "friendID": pl.Int64}, separator="\t"):
                yield rows.rename({"userID": "source", "friendID": "target"})
            return
        given = pl.concat(read_csv(path, columns={"artistID": pl.Int64, "tagID": pl.Int64}, separator="\t"))
        counted = (
            given.group_by("artistID", "tagID").len().sort("artistID", "len", "tagID", descending=[False, True, False])
        )
        main = counted.group_by("artistID", maintain_order=True).first()
        yield main.select(pl.col("artistID").alias("id"), pl.col("tagID").alias("group"))

    # ---- where the files are

    @property
    def _folder(self) -> Path | None:
        return next((f for f in (self.root / NAME, self.root) if present(f, ["user_artists.dat"])), None)

    def _required(self, name: str) -> Path:
        assert self._folder is not None
        if found := present(self._folder, [name]):
            return found[0]
        raise DatasetNotFoundError(
            f"LastFM: {name}(.gz) is not in {self._folder}, beside user_artists.dat. It is part of {self.url}."
        )
