"""Amazon's product reviews (McAuley et al.): who rated what, and which products belong together."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias

import polars as pl

from mtlzoo.datamodules.amazon_files import RELATED, RELEASES, read_related, read_reviews
from mtlzoo.datamodules.checks import require
from mtlzoo.datamodules.columns import CategoricalColumn, GivenSplit, Label, RandomSplit, Recipe, Split, UserSplit
from mtlzoo.datamodules.core import k_core
from mtlzoo.datamodules.errors import DatasetNotFoundError
from mtlzoo.datamodules.ranking import RankingDataModule
from mtlzoo.datamodules.reading import read_csv
from mtlzoo.datamodules.side_table import present
from mtlzoo.schema import Links

Version: TypeAlias = Literal["2014", "2018", "2023"]
LABELS = {
    "recommend": Label("recommend", kind="ranking"),
    "alignment": Label("alignment", kind="alignment"),
    "rating": Label("rating", kind="regression", standardize=False),
    "verified": Label("verified"),
    "helpful": Label("helpful"),
    **{name: Label(name, kind="link") for name in (*RELATED, "category")},
}
OF_REVIEWS = ("verified", "helpful")
"""Tasks that files of ratings alone do not have."""
SPLITS = ("train", "val", "test")
GIVEN = {"user": pl.Int64, "item": pl.Int64, "rating": pl.Float64}
"""Columns of ``train.txt``, ``val.txt`` and ``test.txt``, which have no header."""


class AmazonReviews(RankingDataModule):
    """Ratings of products of one category, and what the metadata say of the products.

    * Tasks: `recommend` (products rated above `positive_from` are to be found), `rating` (the stars, not standardised),
      `alignment` (DirectAU's), `verified` (purchase; 2018, 2023), `helpful` (somebody found the review helpful),
      `also_viewed` (2014, 2018), `also_bought` (2023: bought together) and `category` (the innermost one): whether two
      products are linked.
    * Features: user and item. Times, texts and prices are not features.
    * Split: ``given``: ``train.txt``, ``val.txt`` and ``test.txt`` at `root`, ``user,item,rating`` in integers, as
      GraphAU published them for Office Products (2014, 5-core; of test those rated above 3), with the tasks recommend,
      alignment and rating. ``user``: at random 60 % of each user's rows for train, then 20 % and 20 %, as GraphAU and
      PMTRec do. ``random``: each row by itself.
    * Reads at `root`, plain or ``.gz``: of 2014 ``ratings_CATEGORY.csv``, ``reviews_CATEGORY_5.json`` or
      ``reviews_CATEGORY.json``; of 2018 ``CATEGORY.csv``, ``CATEGORY_5.json`` or ``CATEGORY.json``; of 2023
      ``CATEGORY.csv`` or ``CATEGORY.jsonl``: the first that is there and has what the tasks need. For links the
      metadata, ``meta_CATEGORY.json`` or ``.jsonl``.
    * Products rated twice by a user have two rows.

    Licence: none stated; for research. Source: https://amazon-reviews-2023.github.io, of 2018
    https://nijianmo.github.io/amazon, of 2014 https://jmcauley.ucsd.edu/data/amazon; the given split:
    https://github.com/YangLiangwei/GraphAU. Citation: McAuley et al., Image-based Recommendations on Styles and
    Substitutes, SIGIR 2015 (2014); Ni et al., Justifying Recommendations, EMNLP 2019 (2018); Hou et al., Bridging
    Language and Items, arXiv 2403.03952 (2023); the split: Yang et al., Graph-based Alignment and Uniformity, CIKM
    2023.

    Args:
        root: Folder of the files, see above.
        category: As in the files' names, ``Office_Products``.
        version: ``2014``, ``2018`` or ``2023``.
        tasks: In this order, see above.
        split: ``given``, ``user`` or ``random``.
        core: Users and products with fewer rows are taken out until there are none; 0 keeps all.
        val: Share of validation.
        test: Share of test.
        seed: Of the split.
        positive_from: Ratings above it are positive.
        base: `negatives`, `links_from`, `prepared`, `batch_size`, `eval_batch_size`, `shuffle_seed`: see
            `RankingDataModule`.

    Raises:
        ValueError: An unknown version, task or split, or a task that the version or the split does not have.
    """

    licence = "none stated, for research"
    citation = "McAuley et al., SIGIR 2015; Ni et al., EMNLP 2019; Hou et al., arXiv 2403.03952; Yang et al., CIKM 2023"
    url = "https://amazon-reviews-2023.github.io (or the pages of 2018 and 2014)"

    def __init__(
        self,
        root: str | PathLike[str] = "data/amazon",
        *,
        category: str = "Office_Products",
        version: Version = "2014",
        tasks: Sequence[str] = ("recommend", "alignment", "rating"),
        split: Literal["given", "user", "random"] = "given",
        core: int = 0,
        val: float = 0.2,
        test: float = 0.2,
        seed: int = 0,
        positive_from: float = 3,
        **base: Any,
    ) -> None:
        super().__init__(root, **base)
        if version not in RELEASES or split not in ("given", "user", "random") or core < 0:
            raise ValueError(
                f"AmazonReviews: version={version!r}, split={split!r}, core={core}; allowed are {list(RELEASES)}, "
                "'given', 'user' or 'random', and numbers >= 0."
            )
        missing = {"also_viewed"} if version == "2023" else {"verified"} if version == "2014" else set()
        allowed = ["recommend", "alignment", "rating"] if split == "given" else [t for t in LABELS if t not in missing]
        if not tasks or set(tasks) - set(allowed):
            raise ValueError(
                f"AmazonReviews: tasks={list(tasks)}; allowed are {allowed} with version={version!r}, split={split!r}."
            )
        if all(LABELS[task].kind in ("link", "alignment") for task in tasks):
            raise ValueError(
                f"AmazonReviews: tasks={list(tasks)}; at least one must be of the rows, such as recommend."
            )
        if split == "given" and core:
            raise ValueError("AmazonReviews: split='given' is of a 5-core already; leave core out.")
        self.category, self.version, self.tasks, self.split = category, version, tuple(tasks), split
        self.core, self.val, self.test, self.seed, self.positive_from = core, val, test, seed, positive_from
        self._release = RELEASES[version]

    @cached_property
    def recipe(self) -> Recipe:
        """User and item, the chosen labels and their links."""
        splits: dict[str, Split] = {
            "given": GivenSplit(),
            "random": RandomSplit(self.val, self.test, self.seed),
            "user": UserSplit("user", val=self.val, test=self.test, rounding="up", seed=self.seed),
        }
        labels = tuple(LABELS[task] for task in self.tasks)
        return Recipe(
            columns=(CategoricalColumn("user"), CategoricalColumn("item")),
            labels=labels,
            split=splits[self.split],
            user="user",
            item="item",
            group="user",
            ids=("user", "item"),
            links=tuple(Links(label.column, "item") for label in labels if label.kind == "link"),
        )

    def options(self) -> Mapping[str, Any]:
        """What `read` depends on beyond the recipe."""
        return {"positive_from": self.positive_from, "core": self.core}

    def files(self) -> tuple[Path, ...]:
        """Ratings or reviews and, for links, the metadata; or the three files of the given split.

        Raises:
            DatasetNotFoundError: One is missing.
        """
        if self.split == "given":
            names = [f"{split}.txt" for split in SPLITS]
            found = present(self.root, names)
            if len(found) < len(names):
                raise DatasetNotFoundError(
                    f"AmazonReviews: of {', '.join(names)} (or .gz) only {[path.name for path in found]} are in "
                    f"{self.root}. Get them from datasets/amazon-office of https://github.com/YangLiangwei/GraphAU, or "
                    "give their folder as root=."
                )
            return found
        release = self._release
        reviews = release.json if set(self.tasks) & set(OF_REVIEWS) else (*release.csv, *release.json)
        return tuple(self._first(names) for names in (reviews, *([release.meta] if self.recipe.links else [])))

    def read(self) -> Iterator[pl.DataFrame]:
        """Ratings, in file order."""
        positive = pl.when(pl.col("rating") > self.positive_from).then(1).alias("recommend")
        if self.split == "given":
            yield from (rows.with_columns(positive) for rows in self._given())
            return
        path = self.files()[0]
        kept = None
        if self.core:
            kept = pl.Series(k_core(read_reviews(path, self._release), self.core))
        first = 0
        for rows in read_reviews(path, self._release):
            stop = first + len(rows)
            yield (rows if kept is None else rows.filter(kept[first:stop])).with_columns(positive)
            first = stop

    def read_links(self, name: str) -> Iterator[pl.DataFrame]:
        """Products that are linked, from the metadata."""
        return read_related(self.files()[1], self._release, name)

    def _given(self) -> Iterator[pl.DataFrame]:
        for split, path in zip(SPLITS, self.files(), strict=True):
            for rows in read_csv(path, columns=GIVEN, header=list(GIVEN)):
                for name in GIVEN:
                    require(rows[name].is_not_null(), rows[name], name, None, f"a number in every row ({path.name})")
                yield rows.with_columns(pl.lit(split).alias("split"))

    def _first(self, names: Sequence[str]) -> Path:
        names = [name.format(self.category) for name in names]
        for name in names:
            if (self.root / name).is_file():
                return self.root / name
        raise DatasetNotFoundError(
            f"AmazonReviews: none of {names} is in {self.root}. Get it from {self.url}, give its folder as root=, or "
            f"correct category={self.category!r} and version={self.version!r}."
        )
