"""LastFM (HetRec 2011, 2K): who listened to which artists how often, friends, and tags."""

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from mtlzoo.datamodules.columns import Label
from mtlzoo.datamodules.download import obtain
from mtlzoo.datamodules.download.finding import present
from mtlzoo.datamodules.download.publisher import place_of
from mtlzoo.datamodules.errors import DatasetNotFoundError
from mtlzoo.datamodules.logs.once import Once
from mtlzoo.datamodules.pairs import PairsDataModule
from mtlzoo.datamodules.reading import read_csv
from mtlzoo.datamodules.values.checks import require
from mtlzoo.datamodules.values.domains import HIGHEST_ID, whole
from mtlzoo.schema import Links

FILES = {"friends": "user_friends.dat", "tags": "user_taggedartists.dat"}
NAME = "hetrec2011-lastfm-2k"
ID = whole(1, HIGHEST_ID)
HEARD = {"userID": ID, "artistID": ID, "weight": whole(0, HIGHEST_ID)}
FRIENDS = {"userID": ID, "friendID": ID}
TAGGED = {"artistID": ID, "tagID": ID}
"""What the columns that are read may hold."""


class LastFM(PairsDataModule):
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
        download: Download the archive where the files are missing.
        base: `split`, `val`, `test`, `seed`: see `PairsDataModule`; `negatives`, `links_from`, `prepared`,
            `batch_size`, `eval_batch_size`, `shuffle_seed`: see `RankingDataModule`.

    Raises:
        ValueError: An unknown task or split.
    """

    licence = "non-commercial"
    citation = "Cantador, Brusilovsky and Kuflik, HetRec 2011, RecSys 2011"
    url = f"https://files.grouplens.org/datasets/hetrec2011/{NAME}.zip"
    md5 = "296d61afe4e8632b173fc2dd3be20ce2"

    choices: ClassVar[Mapping[str, Label]] = {
        "recommend": Label("recommend", kind="ranking"),
        "plays": Label("plays", kind="regression"),
        "alignment": Label("alignment", kind="alignment"),
        "friends": Label("friends", kind="link"),
        "tags": Label("tags", kind="link"),
    }
    between: ClassVar[Mapping[str, Links]] = {"friends": Links("friends", "user"), "tags": Links("tags", "item")}

    def __init__(
        self,
        root: str | PathLike[str] = "data/lastfm",
        *,
        tasks: Sequence[str] = ("recommend", "friends", "tags"),
        download: bool = True,
        **base: Any,
    ) -> None:
        super().__init__(root, tasks=tasks, **base)
        self.download = download

    def files(self) -> tuple[Path, ...]:
        """The pairs, and the files of the links; downloads the archive where they are missing.

        Raises:
            DatasetNotFoundError: One is missing.
        """
        archive = self.root / f"{NAME}.zip"
        md5 = "" if archive.is_file() else self.md5  # files packed again are as good
        obtain(self.url, archive, there=lambda: self._folder, md5=md5, allowed=self.download, into=self._unpacked)
        if self._folder is None:
            raise DatasetNotFoundError(
                f"LastFM: no user_artists.dat(.gz) in {self.root / NAME} or {self.root}. Unpack {self.url} there, give "
                "its folder as root=, or allow download=True and writing."
            )
        return tuple(map(self._required, ["user_artists.dat", *(FILES[task] for task in self.tasks if task in FILES)]))

    def read(self) -> Iterator[pl.DataFrame]:
        """Pairs of user and artist, in file order."""
        once = Once("user_artists.dat")
        for rows in read_csv(self._required("user_artists.dat"), columns=HEARD, separator="\t"):
            once.add(rows["userID"], rows["artistID"])
            yield rows.select(
                pl.col("userID").alias("user"),
                pl.col("artistID").alias("item"),
                pl.when(pl.col("weight") > 0).then(1).alias("recommend"),
                pl.col("weight").log1p().alias("plays"),
            )
        once.finish()

    def read_links(self, name: str) -> Iterator[pl.DataFrame]:
        """Friends, or the main tag of each artist."""
        path = self._required(FILES[name])
        if name == "friends":
            for rows in read_csv(path, columns=FRIENDS, separator="\t"):
                alone = rows["userID"] != rows["friendID"]
                require(alone, rows["friendID"], "friendID", None, f"somebody else than the user in {path.name}")
                yield rows.rename({"userID": "source", "friendID": "target"})
            return
        if given := list(read_csv(path, columns=TAGGED, separator="\t")):
            counted = pl.concat(given).group_by("artistID", "tagID").len()
            ordered = counted.sort("artistID", "len", "tagID", descending=[False, True, False])
            main = ordered.group_by("artistID", maintain_order=True).first()
            yield main.select(pl.col("artistID").alias("id"), pl.col("tagID").alias("group"))

    # ---- where the files are

    @property
    def _folder(self) -> Path | None:
        places = (self.root / NAME, self.root, self._unpacked)
        return next((folder for folder in places if present(folder, ["user_artists.dat"])), None)

    @property
    def _unpacked(self) -> Path:
        return place_of(self.root / f"{NAME}.zip", self.prepared) / NAME

    def _required(self, name: str) -> Path:
        assert self._folder is not None
        if found := present(self._folder, [name]):
            return found[0]
        raise DatasetNotFoundError(
            f"LastFM: {name}(.gz) is not in {self._folder}, beside user_artists.dat. It is part of {self.url}; give "
            "the folder of the whole archive as root=, or leave the task out."
        )
