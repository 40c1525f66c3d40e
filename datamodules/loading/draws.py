"""What training draws beside each row: items that the user does not know, and who is linked with whom.

Every draw is a function of seed, epoch and the row's place in the data, and of nothing else: N processes see what one
sees, and an epoch that is resumed draws what it would have drawn.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from mtlzoo.datamodules.hashing import splitmix64, uniform
from mtlzoo.datamodules.prepare.links import LinkTable
from mtlzoo.datamodules.prepare.lists import Ids, Lists, Places
from mtlzoo.schema import FIRST_KNOWN, PADDING

LinksFrom: TypeAlias = Literal["interactions", "links"]
ATTEMPTS = 16
"""Draws until what is still not allowed is looked for among all that is."""


class Stream:
    """Numbers in [0, 1) for the rows of an epoch, as many per row as are asked for.

    Args:
        rows: Places of the rows in the data.
        seed: Seed.
        epoch: Epoch.
        name: What they are drawn for; another name, other numbers.
    """

    def __init__(self, rows: Places, seed: int, epoch: int, name: str) -> None:
        self._rows = splitmix64(rows)
        mixed = splitmix64(np.asarray([seed, epoch, *name.encode()], np.int64) + np.arange(2 + len(name.encode())))
        self._seed = int(np.bitwise_xor.reduce(mixed) >> np.uint64(1))
        self._drawn = 0

    def __call__(self, which: Places | slice = slice(None)) -> npt.NDArray[np.float64]:
        """The next number of each row, or of some of them."""
        self._drawn += 1
        return uniform(self._rows[which], self._seed + self._drawn)


def negatives(
    anchors: npt.NDArray[np.integer],
    cardinality: int,
    allowed: Callable[[npt.NDArray[np.integer], Ids], npt.NDArray[np.bool_]],
    stream: Stream,
) -> Ids:
    """Known ids, uniform among those that are allowed for each anchor; 0 where there are none.

    Args:
        anchors: [n]; 0 gets 0.
        cardinality: Ids are below it.
        allowed: Whether each anchor may have the id beside it.
        stream: Of the n rows.
    """
    found = np.zeros(len(anchors), np.int32)
    left = np.flatnonzero(anchors != PADDING)
    number = cardinality - FIRST_KNOWN
    for _ in range(ATTEMPTS if number > 0 else 0):
        drawn = (FIRST_KNOWN + stream(left) * number).astype(np.int32)
        good = allowed(anchors[left], drawn)
        found[left[good]] = drawn[good]
        left = left[~good]
        if not len(left):
            return found
    everything = np.arange(FIRST_KNOWN, cardinality, dtype=np.int32)
    for place, number_drawn in zip(left, stream(left), strict=True):
        rest = everything[allowed(np.full(len(everything), anchors[place]), everything)]
        found[place] = rest[int(number_drawn * len(rest))] if len(rest) else PADDING
    return found


class BatchDraws:
    """Adds what tasks that compare vectors need to the rows of a batch.

    Args:
        interactions: Of each user the items of train.
        items: Ids of items are below it.
        negatives: Items drawn per row.
        links: By name: the table, the column of ``categorical`` whose ids it links, and their cardinality.
        links_from: Where anchors of links come from: the batch's own users or items, each once, or all links alike.
        user: Column of the user in ``categorical``.
        seed: Seed.
    """

    def __init__(
        self,
        interactions: Lists,
        items: int,
        negatives: int,
        links: Mapping[str, tuple[LinkTable, int, int]],
        links_from: LinksFrom,
        user: int,
        seed: int,
    ) -> None:
        self.interactions = interactions
        self.items = items
        self.negatives = negatives
        self.links = links
        self.links_from = links_from
        self.user = user
        self.seed = seed

    def __call__(self, categorical: Ids, rows: Places, share: slice, epoch: int) -> dict[str, Ids]:
        """Draws for a process's share of a global batch.

        Args:
            categorical: Of the whole global batch, [G, F].
            rows: Their places in the data, [G].
            share: Which of them are this process's.
            epoch: Epoch.

        Returns:
            ``negative`` [B, N], and for each of the links [B, 3]; see `mtlzoo.schema.Batch`.
        """
        users, places = categorical[share, self.user], rows[share]
        drawn = {"negative": self._negatives(users, places, epoch)} if self.negatives else {}
        for name, (table, column, cardinality) in self.links.items():
            stream = Stream(places, self.seed, epoch, name)
            anchors = self._anchors(table, categorical[:, column], share, stream)
            partners = table.partners(anchors, stream(), stream())
            anchors = np.where(partners != PADDING, anchors, PADDING)
            # A stream of its own for every search: how often one draws depends on the rows that others have.
            searched = Stream(places, self.seed, epoch, f"{name} negative")
            others = negatives(anchors, cardinality, partial(_strangers, table), searched)
            drawn[name] = np.stack([anchors, partners, others], 1)
        return drawn

    def _negatives(self, users: Ids, rows: Places, epoch: int) -> Ids:
        streams = [Stream(rows, self.seed, epoch, f"negative {number}") for number in range(self.negatives)]
        return np.stack([negatives(users, self.items, self._unknown, stream) for stream in streams], 1)

    def _unknown(self, users: npt.NDArray[np.integer], items: Ids) -> npt.NDArray[np.bool_]:
        return ~self.interactions.contain(users, items)

    def _anchors(self, table: LinkTable, ids: Ids, share: slice, stream: Stream) -> Ids:
        if self.links_from == "links":
            return table.anchors(stream())
        first = np.zeros(len(ids), np.bool_)
        first[np.unique(ids, return_index=True)[1]] = True
        return np.where(first & (ids >= FIRST_KNOWN), ids, PADDING)[share].astype(np.int32)


def _strangers(table: LinkTable, one: npt.NDArray[np.integer], other: Ids) -> npt.NDArray[np.bool_]:
    apart: npt.NDArray[np.bool_] = (one != other) & ~table.linked(one, other)
    return apart
