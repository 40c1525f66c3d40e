"""Raw files as chunks of rows, in memory that does not grow with the file."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import NoReturn, TypeAlias

import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from mtlzoo.datamodules.blocks import Block, read_blocks
from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError

DataType: TypeAlias = pl.DataType | type[pl.DataType]


def read_csv(
    path: str | PathLike[str],
    *,
    columns: Mapping[str, DataType | None] | None = None,
    header: Sequence[str] = (),
    separator: str = ",",
    encoding: str = "utf-8",
    null_values: Sequence[str] = (),
    quote: bool = True,
    strip: bool = False,
    batch_bytes: int = 16 << 20,
) -> Iterator[pl.DataFrame]:
    """Yields the rows of a text table, plain or gzipped, in file order; empty fields are null, blank lines skipped.

    Strict where others guess: a line with too many *or too few* fields is an error, never a row filled up with nulls.

    Args:
        path: The file.
        columns: Columns to read, with their types; None takes the type that the first block suggests. Default: all.
        header: Column names of a file that has no line of names.
        separator: One character.
        encoding: Any of Python's whose line breaks are one byte. A UTF-8 byte order mark is skipped.
        null_values: Texts that mean "missing", besides the empty one.
        quote: Whether ``"`` quotes values. Line breaks within quotes are refused.
        strip: Removes blanks around values (files separated by ``", "``).
        batch_bytes: Text per chunk.

    Raises:
        DatasetNotFoundError: No such file.
        DataError: An empty file, missing or repeated columns, ragged lines, values that are not of their type, a wrong
            encoding, a damaged gzip; with file, line, column, value and remedy.
    """
    path = Path(path)
    parser: _Parser | None = None
    for block in read_blocks(path, encoding, batch_bytes):
        if parser is None:
            names = list(header)
            if not names:
                first, _, rest = block.data.partition(b"\n")
                names, block = _fields(first, separator, quote), Block(rest, block.line + 1)
            parser = _Parser(
                path, [n.strip() if strip else n for n in names], columns, separator, null_values, quote, strip
            )
        if block.data.strip(b"\r\n"):
            yield parser.parse(block)


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
        DataError: Not a Parquet file, or columns that it does not have.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetNotFoundError(f"{path}: no such file. Put it there, or correct the path.")
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(path, file.schema_arrow.names, columns or ())
            for batch in file.iter_batches(batch_rows, columns=None if columns is None else list(columns)):
                yield _frame(pa.Table.from_batches([batch]))
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a whole Parquet file ({error}). Write or download it again.") from error


class _Parser:
    """Turns blocks of one file into frames; the first block fixes the types that were left open."""

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        columns: Mapping[str, DataType | None] | None,
        separator: str,
        null_values: Sequence[str],
        quote: bool,
        strip: bool,
    ) -> None:
        _check_columns(path, names, columns or ())
        self.path, self.names, self.separator, self.quote, self.strip = path, names, separator, quote, strip
        self.null_values = list(null_values)
        self.columns = list(names if columns is None else columns)
        self.types = {name: _arrow(dtype) for name, dtype in (columns or {}).items() if dtype is not None}

    def parse(self, block: Block) -> pl.DataFrame:
        """Rows of the block."""
        try:
            table = self._arrow_table(block)
        except pa.ArrowInvalid:
            self._explain(block)
        if table.num_rows != block.data.count(b"\n") + (not block.data.endswith(b"\n")):
            lines = block.data.split(b"\n")
            if table.num_rows != sum(1 for line in lines if line not in (b"", b"\r")):
                self._refuse_break(block)
        frame = _frame(table).with_columns(pl.col(pl.Null).cast(pl.String))
        self.types = {name: _arrow(dtype) for name, dtype in frame.schema.items()}
        return self._stripped(frame) if self.strip else frame

    def _arrow_table(self, block: Block, *, threads: bool = True) -> pa.Table:
        quoted = self.quote and b'"' in block.data  # a fifth faster without
        nulls = ["", *self.null_values, *(f" {value}" for value in self.null_values if self.strip)]
        return pacsv.read_csv(
            pa.BufferReader(block.data),
            read_options=pacsv.ReadOptions(
                column_names=self.names, block_size=max(4 << 20, len(block.data) // 4), use_threads=threads
            ),
            parse_options=pacsv.ParseOptions(delimiter=self.separator, quote_char='"' if quoted else False),
            convert_options=pacsv.ConvertOptions(
                include_columns=self.columns, column_types=self.types, null_values=nulls, strings_can_be_null=True
            ),
        )

    def _stripped(self, frame: pl.DataFrame) -> pl.DataFrame:
        text = pl.col(pl.String).str.strip_chars()
        return frame.with_columns(pl.when(~text.is_in(["", *self.null_values])).then(text))

    def _explain(self, block: Block) -> NoReturn:
        """Parses again in one thread, where Arrow counts rows, and says what is wrong in the user's terms."""
        try:
            self._arrow_table(block, threads=False)
        except pa.ArrowInvalid as error:
            message = str(error)
        if "\n" in message:
            self._refuse_break(block)
        row = re.search(r"Row #(\d+)", message)
        line, text = _nth_line(block, int(row[1])) if row else (block.line, "")
        where = f"{self.path}, line {line}"
        if ragged := re.search(r"Expected (\d+) columns, got (\d+)", message):
            raise DataError(
                f"{where}: {ragged[2]} fields where {ragged[1]} are expected ({_short(text)}). Repair the line, or "
                f"check separator={self.separator!r} and quote={self.quote}."
            )
        if value := re.search(r"In CSV column #(\d+):.*conversion error to (\w+).*?: (.*)", message, re.DOTALL):
            raise DataError(
                f"{where}, column {self.names[int(value[1])]!r}: {value[3]}; expected {value[2]}. Repair the value, "
                "give the column another type, or list the text in null_values if it means 'missing'."
            )
        raise DataError(f"{where}: {message}")

    def _refuse_break(self, block: Block) -> NoReturn:
        """Names the first line with a quote that does not end, or a carriage return that does not."""
        lines = enumerate(block.data.split(b"\n"), block.line)
        broken = ((number, line) for number, line in lines if line.count(b'"') % 2 or b"\r" in line[:-1])
        number, line = next(broken, (block.line, b""))
        raise DataError(
            f"{self.path}, line {number}: quote or line break inside a value ({_short(line.decode())}). "
            "Pass quote=False if quotes are plain text here; else remove the break, or convert to Parquet."
        )


def _fields(line: bytes, separator: str, quote: bool) -> list[str]:
    text = line.decode().rstrip("\r")
    return next(csv.reader([text], delimiter=separator)) if quote else text.split(separator)


def _check_columns(path: Path, found: Sequence[str], wanted: Mapping[str, DataType | None] | Sequence[str]) -> None:
    if twice := sorted({name for name in found if list(found).count(name) > 1}):
        raise DataError(f"{path}: column names {twice} occur more than once. Rename them in the file.")
    if missing := [name for name in wanted if name not in found]:
        close = [match for name in missing for match in get_close_matches(name, found, n=1)]
        hint = f" Did you mean {close}?" if close else ""
        raise DataError(f"{path}: no column {missing}; it has {list(found)}. Correct the names or the separator.{hint}")


def _arrow(dtype: DataType) -> pa.DataType:
    return pl.Series([], dtype=dtype).to_arrow(compat_level=pl.CompatLevel.oldest()).type


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _nth_line(block: Block, row: int) -> tuple[int, str]:
    """Number in the file and text of the block's row `row` (from 1; Arrow doesn't count blank lines)."""
    lines = [(n, line) for n, line in enumerate(block.data.split(b"\n"), block.line) if line not in (b"", b"\r")]
    number, line = lines[row - 1]
    return number, line.decode().rstrip("\r")


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
