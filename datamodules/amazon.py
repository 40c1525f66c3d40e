"""Amazon's product reviews (McAuley et al.): who rated what, and which products belong together."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import polars as pl

from mtlzoo.datamodules.checks import require
from mtlzoo.datamodules.columns import CategoricalColumn, GivenSplit, Label, Recipe
from mtlzoo.datamodules.errors import DatasetNotFoundError
from mtlzoo.datamodules.ranking import RankingDataModule
from mtlzoo.datamodules.reading import read_csv
from mtlzoo.datamodules.side_table import present

TASKS = ("recommend", "alignment", "rating")
SPLITS = ("train", "val", "test")
GIVEN = {"user": pl.Int64, "item": pl.Int64, "rating": pl.Float64}
"""Columns of ``train.txt``, ``val.txt`` and ``test.txt``, which have no header."""


class AmazonReviews(RankingDataModule):
    """Ratings of products, with the tasks of the PMTRec paper.

    * Features: user and item.
    * ``split="given"`` reads ``train.txt``, ``val.txt`` and ``test.txt`` at `root`: ``user,item,rating`` in integers,
      as GraphAU published them for Office Products (2014, 5-core; 60, 20 and 20 % of each user's rows at random, of
      test those rated above 3). By their number of rows PMTRec's table 1 is of these files.

    Licence: none stated; for research. Source: https://github.com/YangLiangwei/GraphAU. Citation: McAuley et al.,
    Image-based Recommendations on Styles and Substitutes, SIGIR 2015; the split: Yang et al., Graph-based Alignment and
    Uniformity for Recommendation, CIKM 2023.

    Args:
        root: Folder of the files, see above.
        tasks: In this order. recommend: rank items; what a user rated above `positive_from` is positive. alignment:
            DirectAU's on the positives. rating: a regression on the stars as they are.
        split: ``given``.
        positive_from: Ratings above it are positive.
        base: `negatives`, `links_from`, `prepared`, `batch_size`, `eval_batch_size`, `shuffle_seed`: see
            `RankingDataModule`.

    Raises:
        ValueError: An unknown task or split.
    """

    licence = "none stated, for research"
    citation = "McAuley et al., SIGIR 2015; the split: Yang et al., CIKM 2023"
    url = "https://github.com/YangLiangwei/GraphAU"

    def __init__(
        self,
        root: str | PathLike[str] = "data/amazon",
        *,
        tasks: Sequence[str] = TASKS,
        split: Literal["given"] = "given",
        positive_from: float = 3,
        **base: Any,
    ) -> None:
        super().__init__(root, **base)
        if not tasks or set(tasks) - set(TASKS):
            raise ValueError(f"AmazonReviews: tasks={list(tasks)}; allowed are {list(TASKS)}.")
        if split != "given":
            raise ValueError(f"AmazonReviews: split={split!r}; allowed is 'given'.")
        self.tasks, self.split, self.positive_from = tuple(tasks), split, positive_from

    @cached_property
    def recipe(self) -> Recipe:
        """User and item, the chosen labels, and the split that the files are."""
        labels = {
            "recommend": Label("recommend", kind="ranking"),
            "alignment": Label("alignment", kind="alignment"),
            "rating": Label("rating", kind="regression", standardize=False),
        }
        return Recipe(
            columns=(CategoricalColumn("user"), CategoricalColumn("item")),
            labels=tuple(labels[task] for task in self.tasks),
            split=GivenSplit(),
            user="user",
            item="item",
            group="user",
            ids=("user", "item"),
        )

    def options(self) -> dict[str, Any]:
        """What `read` depends on beyond the recipe."""
        return {"positive_from": self.positive_from}

    def files(self) -> tuple[Path, ...]:
        """``train.txt``, ``val.txt`` and ``test.txt``.

        Raises:
            DatasetNotFoundError: One is missing.
        """
        names = [f"{split}.txt" for split in SPLITS]
        found = present(self.root, names)
        if len(found) < len(names):
            raise DatasetNotFoundError(
                f"AmazonReviews: of {', '.join(names)} (or .gz) only {[path.name for path in found]} are in "
                f"{self.root}. Get them from datasets/amazon-office of {self.url}, or give their folder as root=."
            )
        return found

    def read(self) -> Iterator[pl.DataFrame]:
        """Rows of train, validation and test, in file order."""
        for split, path in zip(SPLITS, self.files(), strict=True):
            for rows in read_csv(path, columns=GIVEN, header=list(GIVEN)):
                for name in GIVEN:
                    require(rows[name].is_not_null(), rows[name], name, None, f"a number in every row ({path.name})")
                yield rows.with_columns(
                    pl.lit(split).alias("split"),
                    pl.when(pl.col("rating") > self.positive_from).then(1).alias("recommend"),
                )
