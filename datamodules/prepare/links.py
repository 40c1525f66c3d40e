"""Links between users or between items, as draws need them: a partner that is linked, and whether two are."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.prepare.encoders.vocabulary import Table
from mtlzoo.datamodules.prepare.lists import Ids, Lists
from mtlzoo.datamodules.reading.tally import Tally
from mtlzoo.datamodules.values.checks import check_columns
from mtlzoo.schema import FIRST_KNOWN

Drawn = npt.NDArray[np.float64]


class LinkTable:
    """Who is linked with whom: by pairs, or because they are in the same group.

    Args:
        lists: Of each id its neighbours; with `groups` of each group its members.
        groups: Of each id its groups, for links by group.
    """

    def __init__(self, lists: Lists, groups: Lists | None = None) -> None:
        self.lists = lists
        self.groups = groups

    def anchors(self, drawn: Drawn) -> Ids:
        """Linked ids, each as often as it has links (or memberships in groups)."""
        places = (drawn * len(self.lists)).astype(np.int64)
        if self.groups is not None:
            return self.lists.members[places]
        return (np.searchsorted(self.lists.starts, places, side="right") - 1).astype(np.int32)

    def partners(self, anchors: Ids, drawn: Drawn, again: Drawn) -> Ids:
        """Someone each anchor is linked with; 0 where it has nobody.

        Args:
            anchors: Ids.
            drawn: Numbers in [0, 1) that choose the neighbour, or the group.
            again: Numbers in [0, 1) that choose the member of the group.
        """
        if self.groups is None:
            return self.lists.pick(anchors, drawn)
        there = self.groups.sizes[anchors] > 0
        group = np.where(there, self.groups.pick(anchors, drawn), 0)
        # One of the others: members are ascending, so those from the anchor's place on move up by one.
        start, others = self.lists.starts[group], self.lists.sizes[group] - 1
        place = start + np.minimum((again * others).astype(np.int64), np.maximum(others - 1, 0))
        place += self.lists.members[place] >= anchors
        there &= others > 0
        return np.where(there, self.lists.members[np.where(there, place, 0)], 0).astype(np.int32)

    def linked(self, one: npt.NDArray[np.integer], other: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Whether two ids are linked, pair by pair."""
        if self.groups is None:
            return self.lists.contain(one, other)
        sizes = self.groups.sizes[one]
        pair = np.repeat(np.arange(len(one)), sizes)
        inside = np.arange(len(pair)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        group = self.groups.members[np.repeat(self.groups.starts[one], sizes) + inside]
        shared = self.lists.contain(group, other[pair])
        return np.bincount(pair[shared], minlength=len(one)) > 0

    def save(self, folder: Path) -> None:
        """Writes the table into a new folder."""
        self.lists.save(folder / "lists")
        if self.groups is not None:
            self.groups.save(folder / "groups")

    @classmethod
    def load(cls, folder: Path) -> "LinkTable":
        """What `save` wrote."""
        groups = Lists.load(folder / "groups") if (folder / "groups").is_dir() else None
        return cls(Lists.load(folder / "lists"), groups)


def read_links(
    name: str, read: Callable[[str], Iterator[pl.DataFrame]], table: Table, column: str, tally: Tally | None = None
) -> LinkTable:
    """Links between ids that train knows; those with oneself and repeated ones are left out.

    Args:
        name: Of the links.
        read: Yields their frames: columns ``source`` and ``target``, linked both ways, or ``id`` and ``group``.
        table: Vocabulary of the ids.
        column: Raw column of the ids, for messages.
        tally: Where links that are left out are counted.

    Raises:
        DataError: Other columns, or nobody left who is linked.
    """
    ones: list[Ids] = []
    others: list[Ids] = []
    codes: dict[str | int, int] = {}
    grouped = False
    for frame in read(name):
        grouped = "group" in frame.columns
        check_columns(f"Links {name!r}", frame.columns, ("id", "group") if grouped else ("source", "target"))
        one = table.ids(frame["id" if grouped else "source"], column)
        if grouped:
            known = frame["group"].is_not_null().to_numpy()
            distinct = frame["group"].drop_nulls().unique(maintain_order=True)
            codes |= {value: code for code, value in enumerate((v for v in distinct if v not in codes), len(codes))}
            other = frame["group"].fill_null(distinct[0] if len(distinct) else 0)
            two = other.replace_strict(codes, return_dtype=pl.Int32).to_numpy() if len(distinct) else np.zeros_like(one)
            known &= one >= FIRST_KNOWN
        else:
            two = table.ids(frame["target"], column)
            known = (one >= FIRST_KNOWN) & (two >= FIRST_KNOWN) & (one != two)
        if tally is not None:
            tally.joined(f"train ({name})", known, most=1.0)
        ones.append(one[known])
        others.append(two[known])
    one, two = (np.concatenate(parts) if parts else np.empty(0, np.int32) for parts in (ones, others))
    del ones, others
    if grouped:
        links = LinkTable(Lists.of(two, one, len(codes)), Lists.of(one, two, table.cardinality))
        some = bool((links.lists.sizes > 1).any())
    else:
        links = LinkTable(Lists.of(np.r_[one, two], np.r_[two, one], table.cardinality))
        some = len(links.lists) > 0
    if not some:
        raise DataError(
            f"Links {name!r}: no two {column!r} of train are linked. Check that the ids of both files are the same "
            "ones, or leave the task out."
        )
    return links
