"""What a data module's `read` leaves out and does not find, counted by reason."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from mtlzoo.datamodules.errors import DataError

MISSED = 0.1
"""Share of rows that a join may miss, where the data module states no other."""


@dataclass
class Count:
    """Rows that were dropped or missed, of how many, and which share of those is too many."""

    rows: int = 0
    of: int = 0
    most: float = 1.0


@dataclass
class Tally:
    """Counts that end up in the preparation's last line, ``manifest.json`` and ``mtlzoo prepare``.

    Every data module has one. Its `read` says what it drops and what its joins do not find, and counts nothing itself::

        def read(self) -> Iterator[pl.DataFrame]:
            for rows in read_csv(path, columns=TYPES):
                rows = self.tally.keep(rows, pl.col("day") >= self.first, "before the first day")
                places = users.rows(rows["user"])
                self.tally.joined("users.csv", places >= 0)  # the rows stay; above a share of 0.1 it is an error
                yield rows.hstack(...)

    An inner join is a `keep` with a bound: ``keep(rows, places >= 0, "not in users.csv", most=0.05)``. What is lost
    before there are rows is a `drop`. Bounds are checked when all rows are read; `read` may be called again.
    """

    dropped: dict[str, Count] = field(default_factory=dict)
    """By reason."""
    missed: dict[str, Count] = field(default_factory=dict)
    """By what was looked up."""

    def keep(
        self, rows: pl.DataFrame, wanted: pl.Expr | pl.Series | npt.NDArray[np.bool_], reason: str, *, most: float = 1.0
    ) -> pl.DataFrame:
        """The wanted rows; the others, and those of which it is not known, count as dropped.

        Args:
            rows: A chunk.
            wanted: Boolean, one per row.
            reason: Why the others are dropped, in a few words: the same for every chunk.
            most: Share of all rows that may be dropped for this reason.
        """
        kept = rows.filter(wanted)
        self.drop(reason, len(rows) - len(kept), of=len(rows), most=most)
        return kept

    def drop(self, reason: str, rows: int, *, of: int = 0, most: float = 1.0) -> None:
        """Counts rows that are left out.

        Args:
            reason: Why.
            rows: How many.
            of: Of how many, where `most` is given.
            most: Share of those that may be dropped.
        """
        _add(self.dropped, reason, rows, of, most)

    def joined(self, table: str, found: pl.Series | npt.NDArray[np.bool_], *, most: float = MISSED) -> None:
        """Counts rows, all of them kept, that a table does not have.

        Args:
            table: Name of what was looked up, a file's for example.
            found: Boolean, one per row.
            most: Share of all rows that may be missed.
        """
        _add(self.missed, table, len(found) - int(found.sum()), len(found), most)

    def check(self, name: str) -> None:
        """Refuses shares above their bounds.

        Raises:
            DataError: With what was lost, how much of it and how much may be.
        """
        lost = {f"dropped as {reason!r}": count for reason, count in self.dropped.items()}
        lost |= {f"not found in {table}": count for table, count in self.missed.items()}
        for what, count in lost.items():
            if count.rows > count.most * count.of > 0:
                raise DataError(
                    f"{name}: {count.rows:,} of {count.of:,} rows ({count.rows / count.of:.1%}) are {what}; at most "
                    f"{count.most:.1%} may be. Check that the files are whole and belong together."
                )

    def plain(self) -> dict[str, Any]:
        """For the manifest: rows dropped by reason, rows missed by table with the number of rows looked up."""
        return {
            "dropped": {reason: count.rows for reason, count in self.dropped.items() if count.rows},
            "missed": {
                table: {name: asdict(count)[name] for name in ("rows", "of")}
                for table, count in self.missed.items()
                if count.rows
            },
        }

    def clear(self) -> None:
        """Forgets all, before the rows are read anew."""
        self.dropped.clear()
        self.missed.clear()


def _add(counts: dict[str, Count], name: str, rows: int, of: int, most: float) -> None:
    count = counts.setdefault(name, Count())
    count.rows, count.of, count.most = count.rows + rows, count.of + of, most
