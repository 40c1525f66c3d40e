"""What Tang's crawls of Epinions and Ciao have in common: ratings, trust among users, categories of products."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from mtlzoo.datamodules.columns import Label
from mtlzoo.datamodules.download.finding import there
from mtlzoo.datamodules.errors import DatasetNotFoundError
from mtlzoo.datamodules.pairs import PairsDataModule
from mtlzoo.datamodules.reading.matlab import read_matrix
from mtlzoo.datamodules.values.checks import require
from mtlzoo.datamodules.values.domains import HIGHEST_ID, Domain, whole
from mtlzoo.schema import Links

CHUNK = 1 << 18
ID = whole(1, HIGHEST_ID)
RATINGS = ("rating.mat", "rating_with_timestamp.mat")
NETWORKS = ("trustnetwork.mat", "trust.mat")
"""Of the release without times and of the one with them, as the variables below."""
RATING = ("rating", "rating_with_timestamp")
NETWORK = ("trustnetwork", "trust")
COLUMNS = ("user", "item", "category", "rating", "helpfulness", "time")


class TrustDataModule(PairsDataModule):
    """Ratings of products by users who trust each other.

    * Tasks: `recommend` (products rated above `positive_from` are to be found), `rating` (the stars, not standardised),
      `alignment` (DirectAU's), `trust` (whether one of two users trusts the other) and `category` (whether two products
      are of the same category).
    * Features: user and item. Category, helpfulness and time are no features.
    * Split: ``random``: each rating by itself, 60/20/20 as in PMTRec (IEEE BigData 2024). ``user``: the same shares of
      each user's ratings.
    * Reads ``rating.mat`` (or ``rating_with_timestamp.mat``) and, for `trust`, ``trustnetwork.mat`` (or ``trust.mat``),
      at `root`. A rating of 0, of which Ciao has a few, is not observed. Pairs that were rated twice stay, as the paper
      counts them.

    Args:
        root: Folder of the files.
        tasks: In this order, see above.
        positive_from: Ratings above it are positive.
        base: `split`, `val`, `test`, `seed`: see `PairsDataModule`; `negatives`, `links_from`, `prepared`,
            `batch_size`, `eval_batch_size`, `shuffle_seed`: see `RankingDataModule`.

    Raises:
        ValueError: An unknown task or split, or a bound that no rating is above.
    """

    licence = "none stated, for research"
    url = "https://www.cse.msu.edu/~tangjili/trust.html"
    choices: ClassVar[Mapping[str, Label]] = {
        "recommend": Label("recommend", kind="ranking"),
        "rating": Label("rating", kind="regression", standardize=False),
        "alignment": Label("alignment", kind="alignment"),
        "trust": Label("trust", kind="link"),
        "category": Label("category", kind="link"),
    }
    between: ClassVar[Mapping[str, Links]] = {"trust": Links("trust", "user"), "category": Links("category", "item")}

    def __init__(
        self,
        root: str | PathLike[str],
        *,
        tasks: Sequence[str] = ("recommend", "trust", "category"),
        positive_from: float = 3,
        **base: Any,
    ) -> None:
        super().__init__(root, tasks=tasks, **base)
        if not 0 <= positive_from < 5:
            name = type(self).__name__
            raise ValueError(f"{name}: positive_from={positive_from}; allowed are 0 to below 5, the highest rating.")
        self.positive_from = positive_from

    categories: ClassVar[int] = HIGHEST_ID
    """Highest number of a category."""

    @property
    @abstractmethod
    def citation(self) -> str:
        """Paper of the crawl; abstract, so that this class is no data set of its own."""

    def options(self) -> Mapping[str, Any]:
        """What `read` depends on beyond the recipe."""
        return {"positive_from": self.positive_from}

    def files(self) -> tuple[Path, ...]:
        """The ratings and, for `trust`, the network.

        Raises:
            DatasetNotFoundError: One is missing.
        """
        return tuple(map(self._file, [RATINGS, *([NETWORKS] if "trust" in self.tasks else [])]))

    def read(self) -> Iterator[pl.DataFrame]:
        """Ratings, in the order of the file."""
        matrix = read_matrix(self._file(RATINGS), RATING, (4, 5, 6))
        rows = pl.DataFrame({name: matrix[:, place] for place, name in enumerate(COLUMNS[:4])})
        domains = (("user", ID), ("item", ID), ("category", whole(1, self.categories)), ("rating", whole(0, 5)))
        for name, domain in domains:
            _check(rows[name], name, domain)
        stars = pl.when(pl.col("rating") > 0).then(pl.col("rating"))
        positive = pl.when(pl.col("rating") > self.positive_from).then(1)
        yield from rows.with_columns(rating=stars, recommend=positive).iter_slices(CHUNK)

    def read_links(self, name: str) -> Iterator[pl.DataFrame]:
        """Who trusts whom, or the categories of the products."""
        if name == "trust":
            pairs = read_matrix(self._file(NETWORKS), NETWORK, (2,))
            links = pl.DataFrame({"source": pairs[:, 0], "target": pairs[:, 1]})
            for column, values in links.to_dict().items():
                _check(values, f"{column} of {NETWORK[0]}", ID)
            yield links
            return
        for rows in self.read():
            yield rows.select(pl.col("item").alias("id"), pl.col("category").alias("group")).unique(maintain_order=True)

    def _file(self, names: Sequence[str]) -> Path:
        """The first of these files that is there."""
        for path in (self.root / name for name in names):
            if there(path):
                return path
        raise DatasetNotFoundError(
            f"{type(self).__name__}: no {' or '.join(names)} in {self.root}. Get it from {self.url} and give its "
            "folder as root=."
        )


def _check(values: pl.Series, name: str, domain: Domain) -> None:
    if (at := domain.first_bad(values)) is not None:
        require(values != values[at], values, name, range(1, len(values) + 1), domain.allowed)
