"""Files with a JSON object per line, as chunks of rows in memory that does not grow with the file."""

import ast
import json
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import product
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl
import pyarrow as pa
import pyarrow.json as pajson

from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.reading.blocks import Block, read_blocks
from mtlzoo.datamodules.reading.lines import short
from mtlzoo.datamodules.reading.python_literals import literals_as_json
from mtlzoo.datamodules.reading.tables import parsed
from mtlzoo.datamodules.values.arrow import from_table
from mtlzoo.datamodules.values.domains import DataType, Domain

Types: TypeAlias = Mapping[str, DataType | Domain | Sequence[DataType]]
Chosen: TypeAlias = Mapping[str, Any]
"""One type per key: nested ones are of polars' classes or instances alike."""


def read_json_lines(path: str | PathLike[str], columns: Types, *, batch_bytes: int = 4 << 20) -> Iterator[pl.DataFrame]:
    r"""Yields some keys of the objects in a file, plain or gzipped, in file order.

    Missing keys are null, all other keys are skipped, whatever they hold; blank lines are skipped. Objects may be
    written as JSON or, as the publishers of some files did, as Python dictionaries: these are parsed, never evaluated.

    Args:
        path: The file.
        columns: Keys to read, with their types: String, Int64, Float64, Boolean, List and Struct; or with what they may
            hold. Where releases differ, several types: each chunk has the first one that fits all of its lines.
        batch_bytes: Text per chunk.

    Raises:
        DatasetNotFoundError: No such file.
        DataError: An empty file, a web page, a damaged gzip, a line that is no object, a value of another type, NaN or
            Infinity (which JSON lacks) or not allowed, a wanted key that comes twice; with file, line and remedy.
    """
    blocks = read_blocks(Path(path), "utf-8", batch_bytes)
    yield from parsed(JsonParser(columns), (block for block in blocks if block.data.strip()))


class JsonParser:
    """Turns blocks of objects into frames.

    Args:
        columns: As for `read_json_lines`.
    """

    settled = True

    def __init__(self, columns: Types) -> None:
        self.domains = {name: domain for name, domain in columns.items() if isinstance(domain, Domain)}
        read = (domain.read if isinstance(domain, Domain) else domain for domain in columns.values())
        types: list[Any] = [(dtype,) if _is_one(dtype) else dtype for dtype in read]
        self.choices: list[Chosen] = [dict(zip(columns, chosen, strict=True)) for chosen in product(*types)]
        self.wanted = {
            *columns,
            *(field.name for of in types for dtype in of for field in getattr(dtype, "fields", ())),
        }
        """Keys that an object may have once."""

    def parse(self, block: Block) -> pl.DataFrame:
        """Rows of the block.

        Raises:
            DataError: A line that is no object or has a value of another type, or one that is not allowed.
        """
        frame = self._parsed(block)
        for name, domain in self.domains.items():
            if (at := domain.first_bad(frame[name])) is not None:
                number, _ = _numbered(block)[at]
                raise DataError(
                    f"{block.path}, line {number}, key {name!r}: found {frame[name][at]!r}; allowed is "
                    f"{domain.allowed}. Repair the line, or get the file anew."
                )
        return frame

    def _parsed(self, block: Block) -> pl.DataFrame:
        lines = [line for line in block.data.split(b"\n") if line.strip()]
        data = _as_json(lines)
        if data is not None:
            for types in self.choices:
                table = _table(data, types)
                if table is not None and table.num_rows == len(lines) and _finite(frame := from_table(table)):
                    return frame
        return self._one_by_one(block)

    def _one_by_one(self, block: Block) -> pl.DataFrame:
        """The same line by line: for what Arrow refuses although it is right, and to name the line that is wrong."""
        lines = _numbered(block)
        rows = [_object(line, f"{block.path}, line {number}", self.wanted) for number, line in lines]
        problem: tuple[int, str] = (-1, "")
        for types in self.choices:
            # Of several types that do not fit, the one that fits most lines tells best what is wrong.
            found = _misfit(rows, types)
            if found is None:
                return _frame(rows, types)
            problem = max(problem, found)
        raise DataError(f"{block.path}, line {lines[problem[0]][0]}: {problem[1]}. Repair the line.")


def _numbered(block: Block) -> list[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers in the file."""
    return [(number, line) for number, line in enumerate(block.data.split(b"\n"), block.line) if line.strip()]


def _is_one(dtype: DataType | Sequence[DataType]) -> bool:
    return isinstance(dtype, pl.DataType) or (isinstance(dtype, type) and issubclass(dtype, pl.DataType))


def _as_json(lines: list[bytes]) -> bytes | None:
    """The lines as JSON; None if that is not simply done. Arrow must not see what is no object: it may crash."""
    if all(line.startswith(b"{'") for line in lines):
        translated = literals_as_json(pl.Series([line.decode() for line in lines]))
        return None if translated is None else translated.str.join("\n").item().encode()
    return b"\n".join(lines) if all(line.startswith(b"{") for line in lines) else None


def _table(data: bytes, types: Chosen) -> pa.Table | None:
    schema = pa.schema([(name, _arrow(dtype)) for name, dtype in types.items()])
    try:
        return pajson.read_json(
            pa.BufferReader(data),
            read_options=pajson.ReadOptions(block_size=len(data), use_threads=False),  # blocks are parsed side by side
            parse_options=pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowInvalid:
        return None


def _arrow(dtype: Any) -> pa.DataType:
    if isinstance(dtype, pl.List):
        return pa.list_(_arrow(dtype.inner))
    if isinstance(dtype, pl.Struct):
        return pa.struct([(field.name, _arrow(field.dtype)) for field in dtype.fields])
    plain: dict[Any, pa.DataType] = {
        pl.String: pa.string(),
        pl.Int64: pa.int64(),
        pl.Float64: pa.float64(),
        pl.Boolean: pa.bool_(),
    }
    return plain[dtype if isinstance(dtype, type) else type(dtype)]


def _finite(frame: pl.DataFrame) -> bool:
    """Whether no number is NaN or infinite: JSON has no such numbers, Arrow takes them."""
    return all(column.is_finite().all() for column in frame.select(pl.col(pl.Float64)))


def _object(line: bytes, where: str, wanted: Set[str]) -> dict[str, Any]:
    text = line.decode().strip()
    keys: list[list[Any]] = []
    """Of every object in the line."""

    def kept(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys.append([key for key, _ in pairs])
        return dict(pairs)

    try:
        if text.startswith("{'"):
            found = ast.literal_eval(text)
            dictionaries = (node for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Dict))
            keys += [[key.value for key in node.keys if isinstance(key, ast.Constant)] for node in dictionaries]
        else:
            found = json.loads(text, object_pairs_hook=kept)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error}): {short(text)}. Repair the line, or download it again.") from None
    if twice := next((key for of in keys for key in of if key in wanted and of.count(key) > 1), None):
        raise DataError(f"{where}: the key {twice!r} occurs twice in one object: {short(text)}. Repair the line.")
    if not isinstance(found, dict):
        raise DataError(f"{where}: expected an object such as {{...}}, found {short(text)}. Is this the right file?")
    return found


def _misfit(rows: Sequence[Mapping[str, Any]], types: Chosen) -> tuple[int, str] | None:
    """Place of the first row with a value of another type, and what is wrong with it."""
    for place, row in enumerate(rows):
        for name, dtype in types.items():
            if not _fits(row.get(name), dtype):
                return place, f"{name!r} is {short(repr(row[name]))}; expected {dtype}"
    return None


def _fits(value: Any, dtype: Any) -> bool:
    if value is None:
        return True
    if isinstance(dtype, pl.List):
        return isinstance(value, list) and all(_fits(one, dtype.inner) for one in value)
    if isinstance(dtype, pl.Struct):
        return isinstance(value, dict) and all(_fits(value.get(field.name), field.dtype) for field in dtype.fields)
    if dtype == pl.String:
        return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)
    if dtype == pl.Boolean:
        return isinstance(value, bool)
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return whole or (dtype == pl.Float64 and isinstance(value, float) and isfinite(value))


def _frame(rows: Sequence[Mapping[str, Any]], types: Chosen) -> pl.DataFrame:
    return pl.DataFrame(
        {name: pl.Series([row.get(name) for row in rows], dtype=dtype, strict=False) for name, dtype in types.items()}
    )
