"""Files of publishers as tables of text, read slowly and strictly."""

import csv
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

from fuzz.damage import BYTES, OFTEN, unpacked
from fuzz.damage_text import TEXT
from fuzz.values import LARGEST, Allowed, InvalidError, number

Rows: TypeAlias = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Form:
    """A file and what depends on it.

    Args:
        role: ``rows``: a line is a row of the data. ``table``: a line belongs to all rows with its key. ``links``: a
            line tells links of its key.
        key: Column of the file that rows are joined by.
        frame: Its name in the rows; `key` if empty.
        through: File whose lines have both, where the rows do not have the key.
    """

    role: Literal["rows", "table", "links"] = "rows"
    key: str = ""
    frame: str = ""
    through: str = ""

    separator = ""
    kinds: ClassVar[tuple[str, ...]] = (*BYTES, *TEXT, *2 * OFTEN)
    """Of damages that such a file can have."""

    def rows(self, data: bytes) -> Rows:
        """The cells that are read, line by line.

        Raises:
            Invalid: No publisher writes such a file.
        """
        raise NotImplementedError

    @property
    def place(self) -> int:
        """Of the key among the cells."""
        raise NotImplementedError


def plain(data: bytes) -> bytes:
    """The file, unpacked."""
    try:
        found = unpacked(data)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidError(error) from None
    if not found.strip() or b"\x00" in found:
        raise InvalidError("empty, or NUL")
    return found.removeprefix(b"\xef\xbb\xbf")


@dataclass(frozen=True)
class Table(Form):
    """Fields between separators.

    Args:
        columns: What is read, and what it may hold.
        names: Of all columns, where the file has no line of names.
        by: The separator.
        quoted: Whether quotes hold values together.
        strip: Whether blanks around values are none of them.
        encoding: Of the text.
        together: Whether the cells of a line that are fine each are so together.
    """

    columns: Mapping[str, Allowed] = field(default_factory=dict)
    names: Sequence[str] = ()
    by: str = ","
    quoted: bool = True
    strip: bool = False
    encoding: str = "utf-8"
    together: Callable[[dict[str, str]], bool] = lambda row: True

    @property
    def separator(self) -> str:  # type: ignore[override]  # read only is enough
        """For damages."""
        return self.by

    @property
    def place(self) -> int:
        """Of the key among the cells."""
        return list(self.columns).index(self.key)

    def rows(self, data: bytes) -> Rows:
        """Cells of the columns."""
        try:
            split = self._split(plain(data).decode(self.encoding).replace("\r\n", "\n").removesuffix("\r"))
        except (UnicodeDecodeError, csv.Error) as error:
            raise InvalidError(error) from None
        names = self.names or [name.strip() or f"column {at}" for at, name in enumerate(split.pop(0) if split else [])]
        if len(set(names)) < len(names) or set(self.columns) - set(names) or not split:
            raise InvalidError("names, or no rows")
        places = [list(names).index(name) for name in self.columns]
        rows = []
        for fields in split:
            if len(fields) != len(names):
                raise InvalidError(f"{len(fields)} fields")
            cells = [fields[place].strip() if self.strip else fields[place] for place in places]
            for (name, allowed), cell in zip(self.columns.items(), cells, strict=True):
                if not allowed(cell):
                    raise InvalidError(f"{name} {cell!r}")
            if not self.together(dict(zip(self.columns, cells, strict=True))):
                raise InvalidError(f"{cells}")
            rows.append(tuple(cells))
        return rows

    def _split(self, text: str) -> list[list[str]]:
        """Fields of the lines; between two quotes there may be several."""
        if "\n" not in text:
            text = text.replace("\r", "\n")  # as old Macs write
        lines = [line for line in text.split("\n") if line]
        if not self.quoted or '"' not in text:
            if "\r" in text:
                raise InvalidError("carriage return")
            return [line.split(self.by) for line in lines]
        fields = list(csv.reader((f"{line}\n" for line in text.split("\n")), delimiter=self.by))
        if fields and fields[-1] and fields[-1][-1].endswith("\n") and text.count('"') % 2:
            raise InvalidError("a quote that does not end")
        return [line for line in fields if line]


@dataclass(frozen=True)
class Strings(Table):
    """Ali-CCP: a table whose last column holds entries of a field, an id and a value.

    Args:
        single: Fields that a string may hold once.
    """

    single: Sequence[str] = ()

    def rows(self, data: bytes) -> Rows:
        """Cells of the columns."""
        rows = super().rows(data)
        entry = re.compile("([^\x01\x02\x03]*)\x02([0-9]+)\x03([^\x01\x02\x03]+)")
        for *_, count, string in rows:
            found = [entry.fullmatch(part) for part in string.split("\x01") if part]
            if len(found) != int(count):
                raise InvalidError("count")
            for match in found:
                if match is None or int(match[2]) > LARGEST or not number()(match[3]):
                    raise InvalidError("entry")
            fields = [match[1] for match in found if match]
            if any(fields.count(name) > 1 for name in self.single):
                raise InvalidError("field twice")
        return rows
