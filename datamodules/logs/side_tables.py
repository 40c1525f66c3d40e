"""Tables of users and items that are joined to the rows of a log."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from mtlzoo.datamodules.download.finding import present as present
from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.logs.lookup import KeyIndex
from mtlzoo.datamodules.reading import read_csv
from mtlzoo.datamodules.reading.tally import Tally
from mtlzoo.datamodules.values.domains import Domain, whole


class SideTable:
    """A table in memory, looked up by an id that counts from 0; of rows with the same id the first counts.

    Args:
        table: The table.
        key: Its column of ids.
        source: Its file, for messages.
        once: Refuses rows with the same id that differ in anything else.
        tally: Where ids that the table does not have are counted.

    Raises:
        DataError: An id that is no whole number from 0 on, or with `once` one whose rows differ.
    """

    def __init__(
        self,
        table: pl.DataFrame,
        key: str,
        source: str | Path = "table",
        *,
        once: bool = False,
        tally: Tally | None = None,
    ) -> None:
        ids = table[key]
        if not ids.dtype.is_integer():
            raise DataError(f"{source}: column {key!r} holds {ids.dtype}; allowed are whole numbers from 0 on.")
        if ids.null_count() or not (ids >= 0).all():
            at = (ids >= 0).fill_null(False).not_().arg_true()[0]
            raise DataError(
                f"{source}: row {at + 1:,}, column {key!r}: found {ids[at]}; allowed is a whole number from 0 on."
            )
        self._source, self._tally = Path(source).name, tally
        self._index = KeyIndex(ids, str(source), first=True)
        if once:
            self._refuse_others(table, ids, source)
        self._columns = table.drop(key).rechunk()  # a gather from one piece is five times faster than from a hundred

    @classmethod
    def read(
        cls,
        path: Path,
        key: str,
        columns: Mapping[str, Domain],
        *,
        once: bool = True,
        tally: Tally | None = None,
    ) -> "SideTable":
        """Reads a CSV file.

        Args:
            path: The file.
            key: Column of ids.
            columns: The other columns, with what they may hold.
            once: As for the class.
            tally: As for the class.

        Raises:
            DataError: As `read_csv`, and as the class.
        """
        return cls(pl.concat(read_csv(path, columns={key: whole(), **columns})), key, path, once=once, tally=tally)

    def of(self, ids: pl.Series) -> pl.DataFrame:
        """The rows of `ids`, in their order; null where the table has none."""
        rows = self._index.rows(ids)
        there = rows >= 0
        if self._tally is not None:
            self._tally.joined(self._source, there)
        found = pl.Series(rows) if there.all() else pl.Series(rows).set(pl.Series(~there), None)
        return self._columns.select(pl.all().gather(found))

    def _refuse_others(self, table: pl.DataFrame, ids: pl.Series, source: str | Path) -> None:
        first = self._index.rows(ids)
        again = np.flatnonzero(first != np.arange(len(ids)))
        if table[again].equals(table[first[again]]):
            return
        at = next(at for at in again.tolist() if not table[at].equals(table[int(first[at])]))
        raise DataError(
            f"{source}: {ids.name} {ids[at]} has two rows that differ, rows {first[at] + 1:,} and {at + 1:,} below the "
            "line of names. Take one of them out, or get the file anew."
        )
