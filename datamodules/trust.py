"""What Tang's crawls of Epinions and Ciao have in common: ratings, trust among users, categories of products."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Literal

import polars as pl

from mtlzoo.datamodules.checks import require
from mtlzoo.datamodules.columns import CategoricalColumn, Label, RandomSplit, Recipe, Split, UserSplit
from mtlzoo.datamodules.errors import DatasetNotFoundError
from mtlzoo.datamodules.matlab import read_matrix
from mtlzoo.datamodules.ranking import RankingDataModule
from mtlzoo.datamodules.side_table import present
from mtlzoo.schema import Links

CHUNK = 1 << 18
RATINGS = ("rating.mat", "rating_with_timestamp.mat", "rating_with_timestamps.mat")
COLUMNS = ("user", "item", "category", "rating", "helpfulness", "time")
LABELS = {
    "recommend": Label("recommend", kind="ranking"),
    "rating": Label("rating", kind="regression", standardize=False),
    "alignment": Label("alignment", kind="alignment"),
    "trust": Label("trust", kind="link"),
    "category": Label("category", kind="link"),
}
LINKS = {"trust": Links("trust", "user"), "category": Links("category", "item")}


class TrustDataModule(RankingDataModule):
    """Ratings of products by users who trust each other.

    * Tasks: `recommend` (products rated above `positive_from` are to be found), `rating` (the stars, not standardised),
      `alignment` (DirectAU's), `trust` (whether one of two users trusts the other) and `category` (whether two products
      are of the same category).
    * Features: user and item. Category, helpfulness and time are no features.
    * Split: ``random``: each rating by itself, 60/20/20 as in PMTRec (IEEE BigData 2024). ``user``: the same shares of
      each user's ratings.
    * Reads ``rating.mat`` (or ``rating_with_timestamp.mat``) and, for `trust`, ``trustnetwork.mat``, at `root`. A
      rating of 0, of which Ciao has a few, is not observed. Pairs that were rated twice stay, as the paper counts them.

    Args:
        root: Folder of the files.
        tasks: In this order, see above.
        split: ``random`` or ``user``.
        val: Share of validation.
        test: Share of test.
        seed: Of the split.
        positive_from: Ratings above it are positive.
        base: `negatives`, `links_from`, `prepared`, `batch_size`, `eval_batch_size`, `shuffle_seed`: see
            `RankingDataModule`.

    Raises:
        ValueError: An unknown task or split.
    """

    licence = "none stated, for research"
    citation: ClassVar[str]
    url = "https://www.cse.msu.edu/~tangjili/trust.html"

    def __init__(
        self,
        root: str | PathLike[str],
        *,
        tasks: Sequence[str] = ("recommend", "trust", "category"),
        split: Literal["random", "user"] = "random",
        val: float = 0.2,
        test: float = 0.2,
        seed: int = 0,
        positive_from: float = 3,
        **base: Any,
    ) -> None:
        super().__init__(root, **base)
        name = type(self).__name__
        if not tasks or set(tasks) - set(LABELS) or not set(tasks) & {"recommend", "rating"}:
            raise ValueError(
                f"{name}: tasks={list(tasks)}; allowed are {list(LABELS)}, and recommend or rating, which are of the "
                "rows, must be among them."
            )
        if split not in ("random", "user"):
            raise ValueError(f"{name}: split={split!r}; allowed are 'random' and 'user'.")
        self.tasks, self.split, self.val, self.test, self.seed = tuple(tasks), split, val, test, seed
        self.positive_from = positive_from

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

    def options(self) -> Mapping[str, Any]:
        """What `read` depends on beyond the recipe."""
        return {"positive_from": self.positive_from}

    def files(self) -> tuple[Path, ...]:
        """The ratings and, for `trust`, the network.

        Raises:
            DatasetNotFoundError: One is missing.
        """
        wanted = [RATINGS, *([("trustnetwork.mat",)] if "trust" in self.tasks else [])]
        found = [next(iter(present(self.root, names)), None) for names in wanted]
        for names, path in zip(wanted, found, strict=True):
            if path is None:
                raise DatasetNotFoundError(
                    f"{type(self).__name__}: no {' or '.join(names)} in {self.root}. Get it from {self.url} and give "
                    "its folder as root=."
                )
        return tuple(path for path in found if path is not None)

    def read(self) -> Iterator[pl.DataFrame]:
        """Ratings, in the order of the file."""
        matrix = read_matrix(self.files()[0], "rating", (4, 5, 6))
        rows = pl.DataFrame({name: matrix[:, place] for place, name in enumerate(COLUMNS[:4])})
        require(rows["rating"].is_between(0, 5), rows["rating"], "rating", range(1, len(rows) + 1), "0 to 5")
        stars = pl.when(pl.col("rating") > 0).then(pl.col("rating"))
        positive = pl.when(pl.col("rating") > self.positive_from).then(1)
        yield from rows.with_columns(rating=stars, recommend=positive).iter_slices(CHUNK)

    def read_links(self, name: str) -> Iterator[pl.DataFrame]:
        """Who trusts whom, or the categories of the products."""
        if name == "trust":
            pairs = read_matrix(self.files()[1], "trustnetwork", (2,))
            yield pl.DataFrame({"source": pairs[:, 0], "target": pairs[:, 1]})
            return
        for rows in self.read():
            yield rows.select(pl.col("item").alias("id"), pl.col("category").alias("group")).unique(maintain_order=True)
