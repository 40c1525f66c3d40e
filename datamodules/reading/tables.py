"""Raw files as chunks of rows, in memory that does not grow with the file."""

import csv
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Protocol

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError
from mtlzoo.datamodules.reading.blocks import Block, read_blocks
from mtlzoo.datamodules.reading.lines import Decimal, Format
from mtlzoo.datamodules.reading.parsing import Parser
from mtlzoo.datamodules.values.arrow import from_table
from mtlzoo.datamodules.values.checks import check_columns
from mtlzoo.datamodules.values.domains import DataType, Domain

_UNIT = "\x1f"
_THREADS = min(4, os.cpu_count() or 1)


def read_csv(
    path: str | PathLike[str],
    *,
    columns: Mapping[str, DataType | Domain | None] | None = None,
    header: Sequence[str] = (),
    separator: str = ",",
    encoding: str = "utf-8",
    null_values: Sequence[str] = (),
    quote: bool = True,
    decimal: Decimal = ".",
    strip: bool = False,
    own: bool = False,
    batch_bytes: int = 4 << 20,
    then: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
) -> Iterator[pl.DataFrame]:
    """Yields the rows of a text table, plain or gzipped, in file order; empty fields are null, blank lines skipped.

    Strict where others guess: a line with too many *or too few* fields is an error, never a row filled up with nulls.

    Args:
        path: The file.
        columns: Columns to read, with their types, or with the values that they may hold; None takes the type that the
            first block suggests. Of type Float64, a chunk of whole numbers that floats would not tell apart (from 2^53
            on) is Int64. Default: all.
        header: Column names of a file that has no line of names.
        separator: One character, or several, such as ``::``.
        encoding: Any of Python's whose line breaks are one byte. A UTF-8 byte order mark is skipped.
        null_values: Texts that mean "missing", besides the empty one.
        quote: Whether ``"`` quotes values. Line breaks within quotes are refused in the columns that are read.
        decimal: The decimal point of numbers.
        strip: Removes blanks around values (files separated by ``", "``). Those around names are removed anyway.
        own: Whether the file is the user's own, who can say how it is read: messages then name these options.
        batch_bytes: Text per chunk.
        then: What becomes of each chunk, in the threads that parse: they may be several at once.

    Raises:
        DatasetNotFoundError: No such file.
        DataError: A file without rows, missing or repeated columns, ragged lines, values that are not of their type or
            not allowed, a wrong encoding, a damaged gzip; with file, line, column, value and remedy.
    """
    path = Path(path)
    blocks = read_blocks(path, encoding, batch_bytes, quote=quote, own=own)
    if len(separator.encode()) > 1:  # Arrow knows separators of one byte alone: one that no text has stands for several
        blocks = _replaced(blocks, separator.encode(), _UNIT.encode())
        separator = _UNIT
    names = list(header)
    if not names:
        names, blocks = _named(blocks, separator, quote)
    format = Format(separator, tuple(null_values), quote, decimal, strip, own)
    parser: BlockParser = Parser(path, names, columns, format)
    if then is not None:
        parser = _Then(parser, then)
    rows = 0
    for frame in parsed(parser, (block for block in blocks if block.data.lstrip(b"\r\n"))):
        rows += len(frame)
        yield frame
    if not rows:
        found = "a line of names and nothing below it" if not header else "nothing but blank lines"
        raise DataError(f"{path}: no rows, {found}. Get the file anew, or leave it out.")


def read_parquet(
    path: str | PathLike[str], *, columns: Sequence[str] | None = None, batch_rows: int = 1 << 18
) -> Iterator[pl.DataFrame]:
    """Yields the rows of a Parquet file, in file order.

    Args:
        path: The file.
        columns: Columns to read. Default: all.
        batch_rows: Rows per chunk, at most.

    Raises:
        DatasetNotFoundError: No such file.
        DataError: Not a Parquet file, columns that it does not have, or integers of 128 bits.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetNotFoundError(f"{path}: no such file. Put it there, or correct the path.")
    try:
        with pq.ParquetFile(path) as file:
            check_columns(str(path), file.schema_arrow.names, columns or ())
            for batch in file.iter_batches(batch_rows, columns=None if columns is None else list(columns)):
                yield from_table(pa.Table.from_batches([batch]))
    except pa.ArrowNotImplementedError as error:
        wide = [name for name, dtype in pl.read_parquet_schema(path).items() if dtype in (pl.Int128, pl.UInt128)]
        found = f"columns {wide} hold integers of 128 bits" if wide else str(error)
        raise DataError(f"{path}: {found}. Write ids as text, and quantities as floats.") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a whole Parquet file ({error}). Write or download it again.") from error


class BlockParser(Protocol):
    """Turns blocks into frames; threads may parse at once when it is settled."""

    @property
    def settled(self) -> bool:
        """Whether nothing of the coming blocks depends on those before."""

    def parse(self, block: Block) -> pl.DataFrame:
        """Rows of the block."""


@dataclass(frozen=True)
class _Then:
    """A parser, and what becomes of its rows."""

    parser: BlockParser
    then: Callable[[pl.DataFrame], pl.DataFrame]

    @property
    def settled(self) -> bool:
        return self.parser.settled

    def parse(self, block: Block) -> pl.DataFrame:
        return self.then(self.parser.parse(block))


def parsed(parser: BlockParser, blocks: Iterator[Block]) -> Iterator[pl.DataFrame]:
    """Parses in order, some blocks ahead of the caller; the first one alone, as it decides types that were open."""
    with ThreadPoolExecutor(_THREADS) as pool:
        ahead: deque[Future[pl.DataFrame]] = deque()
        for block in blocks:
            ahead.append(pool.submit(parser.parse, block))
            if not parser.settled or len(ahead) > _THREADS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _replaced(blocks: Iterator[Block], old: bytes, new: bytes) -> Iterator[Block]:
    return (replace(block, data=block.data.replace(old, new)) for block in blocks)


def _chain(first: Block, others: Iterable[Block]) -> Iterator[Block]:
    yield first
    yield from others


def _named(blocks: Iterator[Block], separator: str, quote: bool) -> tuple[list[str], Iterator[Block]]:
    """The names in the first line that is not blank, and the blocks of what follows it."""
    for block in blocks:
        headed, rest = block.headed, block.data
        while rest:
            first, _, rest = rest.partition(b"\n")
            headed += 1
            if first.strip():
                names = [name.strip() for name in _fields(f"{block.path}, line {headed}", first, separator, quote)]
                # Excel ends lines with separators where cells beside the table were once used.
                named = [name or f"column {place} without a name" for place, name in enumerate(names, 1)]
                return named, _chain(replace(block, data=rest, headed=headed), blocks)
    return [], iter(())


def _fields(where: str, line: bytes, separator: str, quote: bool) -> list[str]:
    text = line.decode().rstrip("\r")
    try:
        return next(csv.reader([text], delimiter=separator)) if quote else text.split(separator)
    except csv.Error as error:  # a carriage return, or more text than names have
        raise DataError(
            f"{where}: {text[:80]!r} is no line of names between {separator!r}. Is this the file? Lines end with line "
            "feeds, after carriage returns or not."
        ) from error
