r"""Alibaba's feature strings as columns: ``field \x02 id \x03 value``, entries joined by ``\x01``.

Such strings are a small table of their own: with their separators exchanged for commas and line breaks, those of a
whole block are parsed at once by Arrow's reader of CSV. No Python runs per row or per entry.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv

from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.values.arrow import from_arrow

_AS_CSV = bytes.maketrans(b"\x01\x02\x03", b"\n,,")
_TYPES = {"field": pa.dictionary(pa.int32(), pa.string()), "id": pa.int32(), "value": pa.float32()}
_ODD = (b"x", b"X", b"+", b" ", b"\t")
"""What Arrow takes in numbers, such as 0x10 and blanks around them, and the publisher never writes."""
_NOWHERE = np.empty(0, np.int64)


class FeatureStrings:
    """Turns columns of feature strings into a column per field.

    Args:
        source: The file, for messages.
        single: Fields that a string holds once at most.
        several: Fields that a string may repeat, and how many ids of them are kept: those of the largest values, where
            values are equal the first ones, in the order of the string.
    """

    def __init__(self, source: str, single: Sequence[str], several: Mapping[str, int]) -> None:
        self.source, self.single, self.several = source, tuple(single), dict(several)
        self.seen: set[str] = set()
        """Fields found so far, those that nobody asked for among them."""

    def of_rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Parses the strings of some rows, in the threads of `read_csv`.

        Args:
            rows: Columns: what each row is called in messages first, ``count`` and ``strings`` among the rest.

        Returns:
            The columns but those two, and those of `columns`.
        """
        return rows.drop("count", "strings").hstack(self.columns(rows["strings"], rows["count"], rows[:, 0]))

    def columns(self, strings: pl.Series, counts: pl.Series, rows: pl.Series) -> pl.DataFrame:
        """Parses strings.

        Args:
            strings: The strings; null where there is no entry.
            counts: How many entries each is said to have.
            rows: What each row is called in messages.

        Returns:
            A column per field, named by it: Int32 for `single`, null where a string lacks it; lists of Int32 for
            `several`, empty where a string lacks it.

        Raises:
            DataError: Something that is no entry, a wrong count, a field of `single` that repeats.
        """
        found = strings.str.count_matches("\x02", literal=True).fill_null(0)
        if (wrong := found.ne_missing(counts)).any():
            at = wrong.arg_true()[0]
            self._refuse(rows[at], f"{found[at]} features where {counts[at]} are announced. Unpack the file again")
        entries = self._entries(strings, rows)
        codes, ids, values = (entries[name].combine_chunks() for name in _TYPES)
        row = np.repeat(np.arange(len(strings)), found.to_numpy())
        names: list[str] = codes.dictionary.to_pylist()
        self.seen.update(names)
        places = codes.indices.to_numpy()
        ids, values = ids.to_numpy(), values.to_numpy()
        # The ends of all values, rather than each of them, are looked at where all is well: NaN is both of them.
        if len(ids) and not (ids.min() >= 0 and np.isfinite(values.min()) and np.isfinite(values.max())):
            at = int(np.argmax((ids < 0) | ~np.isfinite(values)))
            entry = f"{names[places[at]]}\x02{ids[at]}\x03{values[at]}"
            self._refuse(rows[int(row[at])], f"{entry!r} has an id below 0 or no finite value. Unpack the file again")
        columns = {}
        for name in (*self.single, *self.several):
            at = np.flatnonzero(places == names.index(name)) if name in names else _NOWHERE
            if name in self.several:
                columns[name] = _lists(row[at], ids[at], values[at], len(strings), self.several[name])
            else:
                columns[name] = self._once(name, row[at], ids[at], rows)
        return pl.DataFrame(columns)

    def _entries(self, strings: pl.Series, rows: pl.Series) -> pa.Table:
        text = strings.str.join("\x01").item().encode().translate(_AS_CSV)
        if not text.strip(b"\n"):
            return pa.table({name: pa.array([], dtype) for name, dtype in _TYPES.items()})
        if any(mark in text for mark in _ODD):
            entries = pl.DataFrame({"row": rows, "entry": strings.str.split("\x01")}).explode("entry")
            at, entry = entries.filter(pl.col("entry").str.contains("[xX+ \\t]")).row(0)
            self._refuse(at, f"{entry!r} is not FIELD\\x02ID\\x03VALUE in digits. Unpack the file again")
        try:
            return pacsv.read_csv(
                pa.BufferReader(text),
                read_options=pacsv.ReadOptions(column_names=list(_TYPES), block_size=len(text), use_threads=False),
                parse_options=pacsv.ParseOptions(quote_char=False),
                convert_options=pacsv.ConvertOptions(column_types=_TYPES, null_values=[]),
            )
        except pa.ArrowInvalid as error:
            entries = pl.DataFrame({"row": rows, "entry": strings.str.split("\x01")}).explode("entry")
            row = re.search(r"Row #(\d+)", str(error))  # of Arrow, which leaves blank lines out
            at, entry = entries.filter(pl.col("entry") != "").row(int(row[1]) - 1 if row else 0)
            self._refuse(at, f"{entry!r} is not FIELD\\x02ID\\x03VALUE ({error}). Unpack the file again")

    def _once(self, name: str, row: npt.NDArray[np.int64], ids: npt.NDArray[Any], rows: pl.Series) -> pl.Series:
        if (again := row[1:] == row[:-1]).any():
            at = row[1:][again][0]
            self._refuse(rows[int(at)], f"field {name} occurs more than once. Keep it whole: name it in sequences=")
        column, missing = np.zeros(len(rows), np.int32), np.ones(len(rows), np.bool_)
        column[row], missing[row] = ids, False
        return from_arrow(pa.array(column, mask=missing))

    def _refuse(self, row: Any, message: str) -> NoReturn:
        raise DataError(f"{self.source}, {row}: {message}.")


def _lists(
    row: npt.NDArray[np.int64], ids: npt.NDArray[Any], values: npt.NDArray[Any], rows: int, most: int
) -> pl.Series:
    """Ids of each row as a list, at most that many; `row` ascends."""
    lengths = np.bincount(row, minlength=rows)
    if lengths.max(initial=0) > most:
        order = np.lexsort((-values, row))  # stable: equal values stay in the order of the string
        rank = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        ids = ids[np.sort(order[rank < most])]
        lengths = lengths.clip(max=most)
    return from_arrow(pa.LargeListArray.from_arrays(np.append(0, np.cumsum(lengths)), ids.astype(np.int32)))
