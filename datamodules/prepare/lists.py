"""Many short lists of ids in two arrays: what a user interacted with, who is linked with whom."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]
Places = npt.NDArray[np.int64]


class Lists:
    """Lists of ids, each ascending; list ``i`` is ``members[starts[i]:starts[i + 1]]``.

    Args:
        starts: int64 [number + 1].
        members: int32 [entries].
    """

    def __init__(self, starts: Places, members: Ids) -> None:
        self.starts = starts
        self.members = members
        self.sizes = np.diff(starts)
        self._keys: Places | None = None

    @classmethod
    def of(cls, owners: npt.NDArray[np.integer], members: npt.NDArray[np.integer], number: int) -> "Lists":
        """Lists of pairs, in any order.

        Args:
            owners: The list of each entry, in [0, number).
            members: The id of each entry; one that a list has twice is kept once.
            number: How many lists there are.
        """
        width = int(members.max(initial=0)) + 1
        # In place, as np.unique copies: Yelp has a hundred million friends.
        keys = owners.astype(np.int64)
        keys *= width
        keys += members
        keys.sort()
        first = np.ones(len(keys), np.bool_)
        np.not_equal(keys[1:], keys[:-1], out=first[1:])
        keys = keys[first]
        starts = np.searchsorted(keys, np.arange(number + 1, dtype=np.int64) * width)
        return cls(starts, (keys % width).astype(np.int32))

    def __len__(self) -> int:
        """Entries of all lists."""
        return len(self.members)

    @property
    def owners(self) -> Ids:
        """The list of each entry."""
        return np.repeat(np.arange(len(self.sizes), dtype=np.int32), self.sizes)

    def contain(self, lists: npt.NDArray[np.integer], ids: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Whether each list has the id beside it."""
        width = np.int64(self.members.max(initial=0)) + 1
        if self._keys is None:
            self._keys = self.owners * width + self.members
        keys = lists.astype(np.int64) * width + ids
        places = np.minimum(np.searchsorted(self._keys, keys), max(len(self._keys) - 1, 0))
        return (self._keys[places] == keys) & (ids < width) if len(self._keys) else np.zeros(len(keys), np.bool_)

    def pick(self, lists: npt.NDArray[np.integer], drawn: npt.NDArray[np.float64]) -> Ids:
        """A member of each list; 0 where it is empty.

        Args:
            lists: Numbers of lists.
            drawn: Numbers in [0, 1), which decide.
        """
        sizes = self.sizes[lists]
        if not len(self.members):
            return np.zeros(len(lists), np.int32)
        places = self.starts[lists] + np.minimum((drawn * sizes).astype(np.int64), np.maximum(sizes - 1, 0))
        return np.where(sizes > 0, self.members[np.minimum(places, len(self.members) - 1)], 0).astype(np.int32)

    def padded(self, lists: npt.NDArray[np.integer]) -> Ids:
        """The lists side by side, [len(lists), longest], filled with 0."""
        sizes = self.sizes[lists]
        columns = np.arange(sizes.max(initial=0))
        places = self.starts[lists][:, None] + columns
        inside = columns < sizes[:, None]
        if not len(self.members):
            return np.zeros(inside.shape, np.int32)
        return np.where(inside, self.members[np.where(inside, places, 0)], 0).astype(np.int32)

    def save(self, folder: Path) -> None:
        """Writes both arrays into a new folder."""
        folder.mkdir(parents=True)
        np.save(folder / "starts.npy", self.starts)
        np.save(folder / "members.npy", self.members)

    @classmethod
    def load(cls, folder: Path) -> "Lists":
        """What `save` wrote."""
        return cls(np.load(folder / "starts.npy"), np.load(folder / "members.npy"))
