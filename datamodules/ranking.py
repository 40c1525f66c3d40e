"""`RankingDataModule`: data sets of users and items, with links among them."""

import os
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mtlzoo.datamodules.base import MultiTaskDataModule
from mtlzoo.datamodules.loading import BatchLoader
from mtlzoo.datamodules.loading.draws import BatchDraws, LinksFrom
from mtlzoo.datamodules.loading.ranking import DrawingLoader, OneAfterAnother, UserLoader
from mtlzoo.datamodules.prepare.links import LinkTable
from mtlzoo.datamodules.prepare.lists import Lists
from mtlzoo.datamodules.prepare.positives import positive_items, positive_pairs
from mtlzoo.datamodules.values.names import file_stem
from mtlzoo.schema import FIRST_KNOWN, UNKNOWN
from mtlzoo.tasks import VECTOR_KINDS


class Interactions(NamedTuple):
    """Positive interactions of train, each pair once: int32 [P] each."""

    users: Tensor
    items: Tensor


class RankingDataModule(MultiTaskDataModule):
    """Interactions of users with items, and what else is known of who belongs together.

    A subclass gives beside `read` the frames of its links (`read_links`), and declares them in its recipe. Where a
    task is a ranking, a link or an alignment, batches of train carry draws and evaluation has batches of users first
    (see `mtlzoo.schema.Batch`); with other tasks only, batches are those of any data set. An interaction is positive
    where the label of the ranking is 1; with no ranking among the tasks every row is.

    Draws depend on the seed of the row order, the epoch and the row alone, so that N processes see together what one
    sees.

    Args:
        root: Folder of the publisher's files.
        negatives: Items per row that its user has no positive interaction with in train, uniform, anew every epoch.
        links_from: Whose links a batch holds. ``interactions``: of each distinct user (or item) of the batch one, as
            in PMTRec. ``links``: as many as it has rows, of all links alike.
        **base: See `MultiTaskDataModule`.

    Raises:
        ValueError: An option out of range.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        negatives: int = 1,
        links_from: LinksFrom = "interactions",
        **base: Any,
    ) -> None:
        super().__init__(root, **base)
        if negatives < 1 or links_from not in ("interactions", "links"):
            raise ValueError(
                f"{type(self).__name__}: negatives={negatives}, links_from={links_from!r}; allowed are negatives >= 1 "
                "and 'interactions' or 'links'."
            )
        self.negatives = negatives
        self.links_from: LinksFrom = links_from

    # ---- what was prepared

    def links(self, name: str) -> LinkTable:
        """Prepared links."""
        return LinkTable.load(self.data.folder / "links" / file_stem(name))

    @cached_property
    def interactions(self) -> Interactions:
        """The positive interactions of train, for encoders that pass messages along them."""
        return Interactions(torch.from_numpy(self._seen.owners), torch.from_numpy(self._seen.members))

    @property
    def ranks(self) -> bool:
        """Whether a task compares vectors of users and items."""
        return any(task.kind in VECTOR_KINDS for task in self.schema.tasks)

    def _column(self, name: str | None) -> int:
        return next(place for place, feature in enumerate(self.schema.categorical) if feature.name == name)

    def _cardinality(self, name: str | None) -> int:
        return self.schema.categorical[self._column(name)].cardinality

    def _positives(self, split: str) -> Lists:
        """Of each user the items of a split; users that train does not know have none."""
        if split == "train":
            return positive_items(self.data[split], self.schema)
        users, items = positive_pairs(self.data[split], self.schema)
        # Items that train does not know can't be found, but each counts among those that should be.
        known = items >= FIRST_KNOWN
        fresh = ~self._seen.contain(users, items) & known
        number = self._cardinality(self.schema.user)
        lists = Lists.of(users[fresh], items[fresh], number)
        owners = np.r_[lists.owners, users[~known]]
        members = np.r_[lists.members, np.full(np.count_nonzero(~known), UNKNOWN, np.int32)]
        order = np.lexsort((members, owners))
        return Lists(np.searchsorted(owners[order], np.arange(number + 1)), members[order])

    @cached_property
    def _seen(self) -> Lists:
        return self._positives("train")

    # ---- loaders

    def train_dataloader(self) -> BatchLoader:
        """Shuffled batches of the train split, with draws where a task needs them."""
        return self._drawing() if self.ranks else super().train_dataloader()

    def val_dataloader(self) -> Any:
        """Users of the validation split, where a ranking is evaluated, and its rows."""
        return self._evaluating("val")

    def test_dataloader(self) -> Any:
        """Users of the test split, where a ranking is evaluated, and its rows."""
        return self._evaluating("test")

    def _drawing(self) -> BatchLoader:
        schema = self.schema
        kinds = {task.kind for task in schema.tasks}
        wanted = {task.name for task in schema.tasks if task.kind == "link"}
        links = {}
        for link in schema.links:
            if link.name in wanted:
                name = schema.user if link.of == "user" else schema.item
                links[link.name] = (self.links(link.name), self._column(name), self._cardinality(name))
        draws = BatchDraws(
            self._seen,
            self._cardinality(schema.item),
            self.negatives if "ranking" in kinds else 0,
            links,
            self.links_from,
            self._column(schema.user),
            self.order_seed,
        )
        return DrawingLoader(
            draws, self.data["train"], self._train_batch_size, **self._place(), shuffle=not self._overfits
        )

    def _evaluating(self, split: str) -> BatchLoader | OneAfterAnother:
        rows = self._loader(split)
        kinds = {task.kind for task in self.schema.tasks}
        if "ranking" not in kinds:
            return rows
        place = self._place()
        users = UserLoader(
            self._positives(split), self._seen, rows.batch_size, rank=place["rank"], world_size=place["world_size"]
        )
        return OneAfterAnother([users, rows] if kinds - VECTOR_KINDS else [users], self.identity)
