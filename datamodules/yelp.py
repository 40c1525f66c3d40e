"""Yelp's open data set: reviews of businesses, friends, categories."""

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from mtlzoo.datamodules.columns import Label
from mtlzoo.datamodules.download.finding import present
from mtlzoo.datamodules.errors import DatasetNotFoundError
from mtlzoo.datamodules.logs import core_of
from mtlzoo.datamodules.pairs import PairsDataModule
from mtlzoo.datamodules.reading import read_json_lines
from mtlzoo.datamodules.reading.json_lines import Types
from mtlzoo.datamodules.values.domains import id_text, stars
from mtlzoo.schema import Links

TABLE = {"friends": "user", "category": "business"}
"""The file that says who is linked."""
TEXTS = (pl.String(), pl.List(pl.String()))
"""Releases differ: one text with commas, or a list."""
VOTES = {"useful": pl.Int64(), "votes": pl.Struct({"useful": pl.Int64()})}
"""Until 2016 votes were an object of their own."""
REVIEW: Types = {"user_id": id_text(), "business_id": id_text(), "stars": stars(), **VOTES}
"""What is read of a review."""


class Yelp(PairsDataModule):
    """Reviews of businesses: some 7 million in the releases since 2019.

    * Tasks: `recommend` (businesses rated above `positive_from` are to be found), `rating` (the stars, not
      standardised), `useful` (binary: somebody found the review useful), `alignment` (DirectAU's), `friends` (whether
      two users are) and `category`: whether two businesses have the same main category, the rarest of theirs that
      another business has, as "Restaurants" says little.
    * Features: user and item. Texts are never kept, nor are times and places.
    * Split: ``random``: each review by itself, 60/20/20. ``user``: the same shares of each user's reviews, at random.
    * Reads ``yelp_academic_dataset_review.json`` and, for `friends` and `category`, ``yelp_academic_dataset_user.json``
      and ``yelp_academic_dataset_business.json``, plain or ``.gz``, at `root`.

    Licence: Yelp's dataset agreement, for academic use; files may not be passed on. Source:
    https://www.yelp.com/dataset. Citation: Yelp Open Dataset.

    Args:
        root: Folder of the files.
        tasks: In this order, see above.
        core: Users and businesses with fewer reviews are taken out until there are none; 0 keeps all.
        positive_from: Stars above it are positive.
        base: `split`, `val`, `test`, `seed`: see `PairsDataModule`; `negatives`, `links_from`, `prepared`,
            `batch_size`, `eval_batch_size`, `shuffle_seed`: see `RankingDataModule`.

    Raises:
        ValueError: An unknown task or split.
    """

    licence = "Yelp's dataset agreement, academic use"
    citation = "Yelp Open Dataset, https://www.yelp.com/dataset"
    url = "https://www.yelp.com/dataset"

    choices: ClassVar[Mapping[str, Label]] = {
        "recommend": Label("recommend", kind="ranking"),
        "rating": Label("rating", kind="regression", standardize=False),
        "useful": Label("useful"),
        "alignment": Label("alignment", kind="alignment"),
        "friends": Label("friends", kind="link"),
        "category": Label("category", kind="link"),
    }
    between: ClassVar[Mapping[str, Links]] = {
        "friends": Links("friends", "user"),
        "category": Links("category", "item"),
    }

    def __init__(
        self,
        root: str | PathLike[str] = "data/yelp",
        *,
        tasks: Sequence[str] = ("recommend", "friends", "category"),
        core: int = 0,
        positive_from: float = 3,
        **base: Any,
    ) -> None:
        super().__init__(root, tasks=tasks, **base)
        if core < 0:
            raise ValueError(f"Yelp: core={core}; allowed are numbers >= 0.")
        self.core, self.positive_from = core, positive_from

    def options(self) -> Mapping[str, Any]:
        """What `read` depends on beyond the recipe."""
        return {"positive_from": self.positive_from, "core": self.core}

    def files(self) -> tuple[Path, ...]:
        """Reviews and, for links, users and businesses.

        Raises:
            DatasetNotFoundError: One is missing.
        """
        return tuple(map(self._required, ["review", *(TABLE[task] for task in self.tasks if task in TABLE)]))

    def read(self) -> Iterator[pl.DataFrame]:
        """Reviews, in file order."""
        yield from core_of(self._reviews, self.core)()

    def read_links(self, name: str) -> Iterator[pl.DataFrame]:
        """Friends, or the main category of each business."""
        path = self._required(TABLE[name])
        if name == "friends":
            for rows in read_json_lines(path, {"user_id": id_text(), "friends": TEXTS}):
                friends = _listed(rows["friends"], none="None")
                yield pl.DataFrame({"source": rows["user_id"], "target": friends}).explode("target").drop_nulls()
            return
        frames = read_json_lines(path, {"business_id": id_text(), "categories": TEXTS})
        lists = [pl.DataFrame(schema={"id": pl.String, "group": pl.List(pl.String)})]
        for rows in frames:
            lists.append(pl.DataFrame({"id": rows["business_id"], "group": _listed(rows["categories"])}))
        pairs = pl.concat(lists).explode("group").drop_nulls().unique(maintain_order=True)
        pairs = pairs.with_columns(count=pl.len().over("group")).filter(pl.col("count") > 1)
        yield pairs.sort("id", "count", "group").group_by("id", maintain_order=True).first().select("id", "group")

    def _reviews(self) -> Iterator[pl.DataFrame]:
        path = self._required("review")
        for frame in read_json_lines(path, REVIEW):
            yield frame.select(
                pl.col("user_id").alias("user"),
                pl.col("business_id").alias("item"),
                pl.col("stars").alias("rating"),
                (pl.coalesce("useful", pl.col("votes").struct.field("useful")) > 0).cast(pl.Int8).alias("useful"),
                pl.when(pl.col("stars") > self.positive_from).then(1).alias("recommend"),
            )

    def _required(self, table: str) -> Path:
        name = f"yelp_academic_dataset_{table}.json"
        if found := present(self.root, [name]):
            return found[0]
        raise DatasetNotFoundError(
            f"Yelp: no {name}(.gz) in {self.root}. Accept the agreement at {self.url}, unpack the archive there, and "
            "give the folder as root=."
        )


def _listed(values: pl.Series, none: str = "") -> pl.Series:
    """Texts with commas as lists, or lists as they are, without blanks, empty texts and `none`; null stays null."""
    if values.dtype == pl.String:
        values = values.str.split(",")
    stripped = values.list.eval(pl.element().str.strip_chars())
    return stripped.list.eval(pl.element().filter(~pl.element().is_in(["", none])))
