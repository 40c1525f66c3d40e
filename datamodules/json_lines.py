"""Files with a JSON object per line, as chunks of rows in memory that does not grow with the file."""

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl
import pyarrow as pa
import pyarrow.json as pajson

from mtlzoo.datamodules.blocks import Block, read_blocks
from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.literals import literals_as_json
from mtlzoo.datamodules.parsing import DataType, from_table
from mtlzoo.datamodules.reading import parsed

Types: TypeAlias = Mapping[str, DataType | Sequence[DataType]]
Chosen: TypeAlias = Mapping[str, Any]
"""One type per key: nested ones are of polars' classes or instances alike."""


def read_json_lines(path: str | PathLike[str], columns: Types, *, batch_bytes: int = 4 << 20) -> Iterator[pl.DataFrame]:
    r"""Yields some keys of the objects in a file, plain or gzipped, in file order.

    Missing keys are null, all other keys are skipped, whatever they hold; blank lines are skipped. Objects may be
    written as JSON or, as the publishers of some files did, as Python dictionaries: these are parsed, never evaluated.

    Args:
        path: The file.
        columns: Keys to read, with their types: String, Int64, Float64, Boolean, List and Struct. Where releases
            differ, several types: each chunk has the first one that fits all of its lines.
        batch_bytes: Text per chunk.

    Raises:
        DatasetNotFoundError: No such file.
        DataError: An empty file, a web page, a damaged gzip, a line that is no object, a value of another type; with
            file, line and remedy.
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
        types: list[Any] = [(dtype,) if _is_one(dtype) else dtype for dtype in columns.values()]
        self.choices: list[Chosen] = [dict(zip(columns, chosen, strict=True)) for chosen in product(*types)]

    def parse(self, block: Block) -> pl.DataFrame:
        """Rows of the block.

        Raises:
            DataError: A line that is no object or has a value of another type.
        """
        lines = [line for line in block.data.split(b"\n") if line.strip()]
        data = _as_json(lines)
        if data is not None:
            for types in self.choices:
                table = _table(data, types)
                if table is not None and table.num_rows == len(lines):
                    return from_table(table)
        return self._one_by_one(block)

    def _one_by_one(self, block: Block) -> pl.DataFrame:
        """The same line by line: for what Arrow refuses although it is right, and to name the line that is wrong."""
        rows, numbers = [], []
        for number, line in enumerate(block.data.split(b"\n"), block.line):
            if line.strip():
                rows.append(_object(line, f"{block.path}, line {number}"))
                numbers.append(number)
        problem: tuple[int, str] = (-1, "")
        for types in self.choices:
            # Of several types that do not fit, the one that fits most lines tells best what is wrong.
            found = _misfit(rows, types)
            if found is None:
                return _frame(rows, types)
            problem = max(problem, found)
        raise DataError(f"{block.path}, line {numbers[problem[0]]}: {problem[1]}. Repair the line.")


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


def _object(line: bytes, where: str) -> dict[str, Any]:
    text = line.decode().strip()
    try:
        found = ast.literal_eval(text) if text.startswith("{'") else json.loads(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise DataError(
            f"{where}: not JSON ({error}): {_short(text)}. Repair the line, or download it again."
        ) from None
    if not isinstance(found, dict):
        raise DataError(f"{where}: expected an object such as {{...}}, found {_short(text)}. Is this the right file?")
    return found


def _misfit(rows: Sequence[Mapping[str, Any]], types: Chosen) -> tuple[int, str] | None:
    """Place of the first row with a value of another type, and what is wrong with it."""
    for place, row in enumerate(rows):
        for name, dtype in types.items():
            if not _fits(row.get(name), dtype):
                return place, f"{name!r} is {_short(repr(row[name]))}; expected {dtype}"
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
    return whole or (dtype == pl.Float64 and isinstance(value, float))


def _frame(rows: Sequence[Mapping[str, Any]], types: Chosen) -> pl.DataFrame:
    return pl.DataFrame(
        {name: pl.Series([row.get(name) for row in rows], dtype=dtype, strict=False) for name, dtype in types.items()}
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
