"""What a publisher's files may hold: slow readers of their own, which share nothing with the package's."""

import ast
import csv
import io
import json
import math
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

import pyarrow.parquet as pq

from fuzz.damage import BYTES, MATRIX, OFTEN, PARQUET, TEXT, unpacked

Allowed: TypeAlias = Callable[[Any], bool]
Rows: TypeAlias = list[tuple[Any, ...]]
LARGEST = 2**31 - 1


class InvalidError(Exception):
    """No publisher writes such a file."""


def whole(low: int = 0, high: int = 2**63 - 1, *others: int, points: bool = False) -> Allowed:
    """Texts of whole numbers; `points`: also as ``1.0``."""

    def allowed(text: str) -> bool:
        if points:
            inside = number(-(2**53), 2**53, step=1)(text) and (low <= float(text) <= high or float(text) in others)
        else:
            inside = re.fullmatch("-?[0-9]+", text) is not None and (low <= int(text) <= high or int(text) in others)
        return inside

    return allowed


def number(low: float = -3.4028234e38, high: float = 3.4028234e38, *, step: float = 0) -> Allowed:
    """Texts of finite numbers."""
    pattern = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")

    def allowed(text: str) -> bool:
        fits = pattern.fullmatch(text) is not None and low <= float(text) <= high
        return fits and (not step or (float(text) / step).is_integer())

    return allowed


def text(pattern: str = "(?s).+") -> Allowed:
    """Texts that match."""
    return lambda value: re.fullmatch(pattern, value) is not None


def one_of(*texts: str) -> Allowed:
    """These texts."""
    return lambda value: value in texts


def maybe(allowed: Allowed, *missing: str) -> Allowed:
    """Also nothing, or these texts for it."""
    return lambda value: value in ("", *missing) or allowed(value)


@dataclass(frozen=True)
class Form:
    """A file and what depends on it.

    Args:
        role: ``rows``: a line is a row of the data. ``table``: a line belongs to all rows with its key. ``links``: a
            line tells links of its key.
        key: Column of the file that rows are joined by.
        frame: Its name in the rows; `key` if empty.
    """

    role: Literal["rows", "table", "links"] = "rows"
    key: str = ""
    frame: str = ""

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
            lines = plain(data).decode(self.encoding).split("\n")
        except UnicodeDecodeError as error:
            raise InvalidError(error) from None
        split = [self._split(line.removesuffix("\r")) for line in lines if line not in ("", "\r")]
        names = self.names or [name.strip() if self.strip else name for name in split.pop(0)]
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

    def _split(self, line: str) -> list[str]:
        if "\r" in line:
            raise InvalidError("carriage return")
        if not self.quoted or '"' not in line:
            return line.split(self.by)
        if line.count('"') % 2:
            raise InvalidError("quote")
        return next(csv.reader([line], delimiter=self.by))


class Bad:
    """Stands for NaN and Infinity, which are no JSON."""


def _pairs(wanted: frozenset[str]) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def hook(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs if name in wanted]
        if len(set(names)) < len(names):
            raise InvalidError("key twice")
        return dict(pairs)

    return hook


@dataclass(frozen=True)
class Objects(Form):
    """An object per line.

    Args:
        keys: What is read, and what it may hold; None where it is missing.
        inner: Keys of objects within that may be there once.
        literals: Whether the objects are written as Python does.
    """

    keys: Mapping[str, Allowed] = field(default_factory=dict)
    inner: frozenset[str] = frozenset()
    literals: bool = False
    alike: Callable[[list[dict[str, Any]]], bool] = lambda rows: True

    @property
    def place(self) -> int:
        """Of the key among the cells."""
        return list(self.keys).index(self.key)

    def rows(self, data: bytes) -> Rows:
        """Values of the keys, as they would be written."""
        try:
            lines = plain(data).decode().split("\n")
        except UnicodeDecodeError as error:
            raise InvalidError(error) from None
        found = [self._object(line.strip()) for line in lines if line.strip()]
        if not self.alike(found):
            raise InvalidError("types change")
        return [tuple(repr(row.get(name)) for name in self.keys) for row in found]

    def _object(self, line: str) -> dict[str, Any]:
        try:
            if self.literals and line.startswith("{'"):
                row = ast.literal_eval(line)
                tree = ast.parse(line, mode="eval").body
                names = (
                    [key.value for key in tree.keys if isinstance(key, ast.Constant)]
                    if isinstance(tree, ast.Dict)
                    else []
                )
                if any(names.count(name) > 1 for name in self.keys):
                    raise InvalidError("key twice")
            else:
                row = json.loads(
                    line, parse_constant=lambda _: Bad(), object_pairs_hook=_pairs(self.inner | frozenset(self.keys))
                )
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError) as error:
            raise InvalidError(error) from None
        if not isinstance(row, dict):
            raise InvalidError("no object")
        for name, allowed in self.keys.items():
            if not allowed(row.get(name)):
                raise InvalidError(f"{name} {row.get(name)!r}")
        return row


def integer(low: int, *, missing: bool = False) -> Allowed:
    """Whole numbers of JSON."""
    return lambda value: missing if value is None else type(value) is int and low <= value < 2**63


def real(allowed: Callable[[float], bool]) -> Allowed:
    """Numbers of JSON."""
    return lambda value: type(value) in (int, float) and math.isfinite(value) and allowed(value)


def string(pattern: str = "(?s).*", *, missing: bool = False) -> Allowed:
    """Texts of JSON, without halves of characters."""
    return lambda value: (
        missing
        if value is None
        else isinstance(value, str)
        and re.fullmatch(pattern, value) is not None
        and not any("\ud800" <= c <= "\udfff" for c in value)
    )


def listed(of: Allowed, *, missing: bool = True) -> Allowed:
    """Lists of JSON."""
    return lambda value: missing if value is None else isinstance(value, list) and all(map(of, value))


@dataclass(frozen=True)
class Matrix(Form):
    """A variable of a MATLAB file.

    Args:
        names: Of the variable, the first that is there.
        columns: What the columns that are read may hold.
        widths: How many columns there may be.
    """

    kinds: ClassVar[tuple[str, ...]] = (*BYTES, *3 * tuple(MATRIX))

    names: Sequence[str] = ()
    columns: Sequence[Callable[[float], bool]] = ()
    widths: Sequence[int] = ()

    @property
    def place(self) -> int:
        """Links are told by the first column."""
        return 0

    def rows(self, data: bytes) -> Rows:
        """Numbers of the columns."""
        from scipy.io import loadmat

        try:
            found = loadmat(io.BytesIO(data))
        except Exception as error:
            raise InvalidError(error) from None
        matrix = next((found[name] for name in self.names if name in found), None)
        if matrix is None or getattr(matrix, "ndim", 0) != 2 or matrix.shape[1] not in self.widths:
            raise InvalidError("no such matrix")
        if matrix.dtype.kind not in "iuf" or not len(matrix):
            raise InvalidError("no numbers")
        rows = [tuple(row[: len(self.columns)]) for row in matrix.tolist()]
        for row in rows:
            for allowed, cell in zip(self.columns, row, strict=True):
                if not (math.isfinite(cell) and cell == int(cell) and allowed(cell)):
                    raise InvalidError(cell)
        return [tuple(str(int(cell)) for cell in row) for row in rows]


@dataclass(frozen=True)
class Columns(Form):
    """A Parquet file.

    Args:
        columns: What is read, and what it may hold.
    """

    columns: Mapping[str, Allowed] = field(default_factory=dict)
    kinds: ClassVar[tuple[str, ...]] = (*BYTES, *3 * tuple(PARQUET))

    @property
    def place(self) -> int:
        """Of the key among the cells."""
        return list(self.columns).index(self.key)

    def rows(self, data: bytes) -> Rows:
        """Values of the columns."""
        try:
            table = pq.read_table(io.BytesIO(data), columns=list(self.columns))
        except Exception as error:
            raise InvalidError(error) from None
        if not len(table) or table.num_columns < len(self.columns):
            raise InvalidError("no rows")
        rows = list(zip(*(table[name].to_pylist() for name in self.columns), strict=True))
        for row in rows:
            for (name, allowed), cell in zip(self.columns.items(), row, strict=True):
                if not allowed(cell):
                    raise InvalidError(f"{name} {cell!r}")
        return [tuple(map(repr, row)) for row in rows]


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
