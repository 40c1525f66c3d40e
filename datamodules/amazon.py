"""Amazon's product reviews (McAuley et al.): who rated what, and which products belong together."""

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import polars as pl

from mtlzoo.datamodules.amazon_files import RELEASES, read_related, read_reviews
from mtlzoo.datamodules.columns import GivenSplit, Label, Split
from mtlzoo.datamodules.download.finding import present, there
from mtlzoo.datamodules.errors import DatasetNotFoundError
from mtlzoo.datamodules.logs import core_of
from mtlzoo.datamodules.logs.once import Once
from mtlzoo.datamodules.logs.split_column import assigned
from mtlzoo.datamodules.pairs import PairsDataModule
from mtlzoo.datamodules.reading import read_csv
from mtlzoo.datamodules.values.domains import HIGHEST_ID, stars, whole
from mtlzoo.schema import Links

Version: TypeAlias = Literal["2014", "2018", "2023"]
OF_RATINGS = ("recommend", "alignment", "rating")
OF_REVIEWS = ("verified", "helpful")
OF_PRODUCTS = ("also_viewed", "also_bought", "category")
SPLITS = ("train", "val", "test")
GIVEN = {"user": whole(0, HIGHEST_ID), "item": whole(0, HIGHEST_ID), "rating": stars()}
"""Columns of ``train.txt``, ``val.txt`` and ``test.txt``, which have no header."""


class AmazonReviews(PairsDataModule):
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
    * Reads at `root`, plain or ``.gz``, the first that is there: of 2014 ``reviews_CATEGORY_5.json``,
      ``reviews_CATEGORY.json`` or ``ratings_CATEGORY.csv``; of 2018 ``CATEGORY_5.json``, ``CATEGORY.json`` or
      ``CATEGORY.csv``; of 2023 ``CATEGORY.jsonl`` or ``CATEGORY.csv``. The tasks do not change which: all have the same
      rows. Files of ratings alone (``.csv``) lack `verified` and `helpful`. For links the metadata,
      ``meta_CATEGORY.json`` or ``.jsonl``.
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
        test_positives: Keep the positive ones of the test rows alone, as GraphAU does.
        base: `negatives`, `links_from`, `prepared`, `batch_size`, `eval_batch_size`, `shuffle_seed`: see
            `RankingDataModule`.

    Raises:
        ValueError: An unknown version, task or split, or a task that the version or the split does not have.
    """

    licence = "none stated, for research"
    citation = "McAuley et al., SIGIR 2015; Ni et al., EMNLP 2019; Hou et al., arXiv 2403.03952; Yang et al., CIKM 2023"
    url = "https://amazon-reviews-2023.github.io (or the pages of 2018 and 2014)"

    choices: ClassVar[Mapping[str, Label]] = {
        "recommend": Label("recommend", kind="ranking"),
        "alignment": Label("alignment", kind="alignment"),
        "rating": Label("rating", kind="regression", standardize=False),
        **{name: Label(name) for name in OF_REVIEWS},
        **{name: Label(name, kind="link") for name in OF_PRODUCTS},
    }
    between: ClassVar[Mapping[str, Links]] = {name: Links(name, "item") for name in OF_PRODUCTS}

    def __init__(
        self,
        root: str | PathLike[str] = "data/amazon",
        *,
        category: str = "Office_Products",
        version: Version = "2014",
        tasks: Sequence[str] = OF_RATINGS,
        split: Literal["given", "user", "random"] = "given",
        core: int = 0,
        val: float = 0.2,
        test: float = 0.2,
        seed: int = 0,
        positive_from: float = 3,
        test_positives: bool = False,
        **base: Any,
    ) -> None:
        if version not in RELEASES or split not in ("given", "user", "random") or core < 0:
            raise ValueError(
                f"AmazonReviews: version={version!r}, split={split!r}, core={core}; allowed are {list(RELEASES)}, "
                "'given', 'user' or 'random', and numbers >= 0."
            )
        if split == "given" and (version != "2014" or core or test_positives):
            raise ValueError(
                f"AmazonReviews: split='given' with version={version!r}, core={core}, test_positives={test_positives}; "
                "what GraphAU published is of 2014, a 5-core, and filtered already. Leave these out, or give "
                "split='user' or 'random' to split the publisher's own files."
            )
        shares: dict[str, Any] = {"val": val, "test": test, "seed": seed}
        super().__init__(root, tasks=tasks, split="random" if split == "random" else "user", **shares, **base)
        self._release = RELEASES[version]
        there = () if split == "given" else (*self._release.outcomes, *self._release.links)
        if set(tasks) - {*OF_RATINGS, *there}:
            raise ValueError(
                f"AmazonReviews: tasks={list(tasks)}; allowed with version={version!r}, split={split!r} are "
                f"{[*OF_RATINGS, *there]}."
            )
        self.category, self.version, self.split, self.core = category, version, split, core
        self.positive_from, self.test_positives = positive_from, test_positives

    @property
    def declared_split(self) -> Split:
        """The split of the recipe: a column where files say it, or where rows of test are taken out."""
        return GivenSplit() if self.split == "given" or self.test_positives else super().declared_split

    def options(self) -> Mapping[str, Any]:
        """What `read` depends on beyond the recipe."""
        if self.split == "given":
            return {"positive_from": self.positive_from}
        filtered = {"split": self.split, "val": self.val, "test": self.test, "seed": self.seed}
        return {
            "version": self.version,
            "positive_from": self.positive_from,
            "core": self.core,
            **(filtered if self.test_positives else {}),
        }

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
        reviews = (*release.json, *(() if self._outcomes else release.csv))
        return tuple(map(self._first, (reviews, *([release.meta] if self.recipe.links else []))))

    def read(self) -> Iterator[pl.DataFrame]:
        """Ratings, in file order."""
        positive = pl.when(pl.col("rating") > self.positive_from).then(1).alias("recommend")
        if self.split == "given":
            yield from (rows.with_columns(positive) for rows in self._given())
            return
        path = self.files()[0]
        read = core_of(lambda: read_reviews(path, self._release, self._outcomes), self.core)
        if not self.test_positives:
            yield from (rows.with_columns(positive) for rows in read())
            return
        for rows in assigned(read, super().declared_split, self.folder):
            yield rows.filter((pl.col("split") != "test") | (pl.col("rating") > self.positive_from)).with_columns(
                positive
            )

    def read_links(self, name: str) -> Iterator[pl.DataFrame]:
        """Products that are linked, from the metadata."""
        return read_related(self.files()[1], self._release, name)

    @property
    def _outcomes(self) -> list[str]:
        return [task for task in self.tasks if task in OF_REVIEWS]

    def _given(self) -> Iterator[pl.DataFrame]:
        once = Once("train.txt, val.txt and test.txt")
        for split, path in zip(SPLITS, self.files(), strict=True):
            for rows in read_csv(path, columns=GIVEN, header=list(GIVEN)):
                once.add(rows["user"], rows["item"])
                yield rows.with_columns(pl.lit(split).alias("split"))
        once.finish()

    def _first(self, names: Sequence[str]) -> Path:
        names = [name.format(self.category) for name in names]
        for name in names:
            if there(self.root / name):
                return self.root / name
        raise DatasetNotFoundError(
            f"AmazonReviews: none of {names} is in {self.root}. Get it from {self.url}, give its folder as root=, or "
            f"correct category={self.category!r} and version={self.version!r}."
        )
