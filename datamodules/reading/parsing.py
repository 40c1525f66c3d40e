"""Blocks of a text table as frames, and what is wrong with them in the user's terms."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import reduce
from operator import and_
from pathlib import Path
from typing import NoReturn

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.reading.blocks import Block
from mtlzoo.datamodules.reading.lines import Format, nth_line, records, short
from mtlzoo.datamodules.reading.spelling import is_number, odd
from mtlzoo.datamodules.values.arrow import from_table
from mtlzoo.datamodules.values.checks import EXACT, NUMBER, WHOLE, check_columns
from mtlzoo.datamodules.values.domains import DataType, Domain


class Parser:
    """Turns blocks of one file into frames. Threads may parse at once when the first block has been.

    Args:
        path: The file, for messages.
        names: All of its columns.
        columns: As for `read_csv`.
        format: How the file is written.

    Raises:
        DataError: Missing or repeated columns.
    """

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        columns: Mapping[str, DataType | Domain | None] | None,
        format: Format,
    ) -> None:
        check_columns(str(path), names, columns or ())
        self.path, self.names, self.format = path, names, format
        self.null_values = ["", *format.null_values]
        self.columns = list(names if columns is None else columns)
        self.domains = {name: domain for name, domain in (columns or {}).items() if isinstance(domain, Domain)}
        self.types = {name: _arrow(dtype) for name, dtype in (columns or {}).items() if dtype is not None}
        self.settled = False
        """Whether the first block has been parsed and thereby all types are fixed."""

    def parse(self, block: Block) -> pl.DataFrame:
        """Rows of the block.

        Raises:
            DataError: Ragged lines, line breaks in values, values that are not of their type or domain.
        """
        quoted = self.format.quote and b'"' in block.data
        try:
            table = self._table(block, quoted=quoted)
        except pa.ArrowInvalid as error:
            self._explain(block, str(error))
        if (quoted or b"\r" in block.data) and table.num_rows != block.data.count(b"\n"):
            lines = block.data.split(b"\n")
            if table.num_rows != sum(1 for line in lines if line not in (b"", b"\r")):
                self._check_breaks(block, table.num_rows)
        if odd(block.data, table, self.format.separator, self.format.strip):
            self._check_spelling(block, table, quoted=quoted)
        frame = from_table(table).with_columns(pl.col(pl.Null).cast(pl.String))
        if not self.settled:
            self.types = {name: _arrow(dtype) for name, dtype in frame.schema.items()}
            self.settled = True
        frame = self._told_apart(block, frame, quoted=quoted)
        return self._checked(block, self._stripped(frame) if self.format.strip else frame)

    def _told_apart(self, block: Block, frame: pl.DataFrame, *, quoted: bool) -> pl.DataFrame:
        """Integers in place of floats that would make neighbours one, in columns whose numbers are all whole."""
        for name, dtype in frame.schema.items():
            if dtype == pl.Float64 and name not in self.domains and (frame[name].abs() >= EXACT).any():
                with suppress(pa.ArrowInvalid):
                    frame = frame.with_columns(from_table(self._table(block, quoted=quoted, types={name: pa.int64()})))
        return frame

    def _checked(self, block: Block, frame: pl.DataFrame) -> pl.DataFrame:
        for name, domain in self.domains.items():
            if (at := domain.first_bad(frame[name])) is not None:
                value, (line, _) = frame[name][at], nth_line(block, at + 1, self.format)
                raise DataError(
                    f"{self.path}, line {line}, column {name!r}: found {value!r}; "
                    f"allowed is {domain.allowed}. Repair the line, or get the file anew."
                )
        return frame.cast({name: domain.dtype for name, domain in self.domains.items() if domain.dtype is not None})

    def _table(self, block: Block, *, quoted: bool, types: Mapping[str, pa.DataType] | None = None) -> pa.Table:
        blank = [f" {value}" for value in self.null_values if self.format.strip]
        return pacsv.read_csv(
            pa.BufferReader(block.data),
            # In one piece and thread: blocks are parsed side by side, and only so does Arrow count rows in its errors.
            read_options=pacsv.ReadOptions(column_names=self.names, block_size=len(block.data), use_threads=False),
            # A fifth faster without quotes.
            parse_options=pacsv.ParseOptions(delimiter=self.format.separator, quote_char='"' if quoted else False),
            convert_options=pacsv.ConvertOptions(
                include_columns=self.columns if types is None else list(types),
                column_types=self.types if types is None else types,
                decimal_point=self.format.decimal,
                null_values=[*self.null_values, *blank],
                strings_can_be_null=True,
            ),
        )

    def _stripped(self, frame: pl.DataFrame) -> pl.DataFrame:
        text = pl.col(pl.String).str.strip_chars()
        there = reduce(and_, (text != value for value in self.null_values))  # a set of texts costs a third more time
        return frame.with_columns(pl.when(there).then(text))

    def _check_spelling(self, block: Block, table: pa.Table, *, quoted: bool) -> None:
        """Refuses numbers that Arrow reads and nobody writes."""
        fields = [field for field in table.schema if is_number(field.type)]
        types = dict.fromkeys((field.name for field in fields), pa.string())
        texts = from_table(self._table(block, quoted=quoted, types=types))
        for field in fields:
            text = texts[field.name].str.strip_chars() if self.format.strip else texts[field.name]
            number = NUMBER.replace(r"\.", re.escape(self.format.decimal))
            good = text.str.contains(WHOLE if pa.types.is_integer(field.type) else number)
            if pa.types.is_floating(field.type):
                good &= pl.Series(pc.is_finite(table[field.name]))
            if not good.all():  # null is left out
                at = (~good).arg_true()[0]
                line, _ = nth_line(block, at + 1, self.format)
                self._refuse_value(line, field.name, f"invalid value {text[at]!r}", str(field.type))

    def _check_breaks(self, block: Block, rows: int) -> None:
        """Lets rows of several lines pass where the breaks are quoted, in columns that are not read."""
        found = records(block, self.format)
        if found is None or len(found) != rows:
            self._refuse_break(block)
        last = len(self.names) - 1
        for line, text, fields in found:
            broken = [place for place, field in enumerate(fields) if "\n" in field or "\r" in field]
            for place in broken:
                if self.names[place] in self.columns:
                    raise DataError(
                        f"{self.path}, line {line}, column {self.names[place]!r}: quote or line break inside a value "
                        f"({short(text.splitlines()[0])}), which only columns that are not read may have. "
                        f"{self._unquoted()}"
                    )
            # A quote that is plain text makes rows up to the next one a value; such rows are known by their fields.
            parts = [part for part in text.split("\n") if part.strip()] if broken else []
            like_rows = all(part.count(self.format.separator) >= last for part in parts)
            if broken and (like_rows or text.count('"') % 2):
                self._refuse_break(replace(block, data=text.encode()), line)

    def _explain(self, block: Block, message: str) -> NoReturn:
        returns = any(b"\r" in line[:-1] and b'"' not in line for line in block.data.split(b"\n"))
        if "\n" in message or returns:  # Arrow takes a carriage return for the end of a row
            self._refuse_break(block)
        row = re.search(r"Row #(\d+)", message)
        try:
            line, text = nth_line(block, int(row[1]), self.format) if row else (block.line, "")
        except IndexError:  # rows that a carriage return ended
            self._refuse_break(block)
        where = f"{self.path}, line {line}"
        if ragged := re.search(r"Expected (\d+) columns, got (\d+)", message):
            remedy = f"check separator={self.format.separator!r} and quote={self.format.quote}"
            raise DataError(
                f"{where}: {ragged[2]} fields where {ragged[1]} are expected ({short(text)}). Repair the line, or "
                f"{remedy if self.format.own else 'get the file anew'}."
            )
        if value := re.search(r"In CSV column #(\d+):.*conversion error to (\w+).*?: (.*)", message):
            self._refuse_value(line, self.names[int(value[1])], value[3], value[2])
        raise DataError(f"{where}: {message}")

    def _refuse_value(self, line: int, column: str, found: str, expected: str) -> NoReturn:
        own = (
            f"list the text in null_values if it means 'missing', check decimal={self.format.decimal!r} and "
            f"strip={self.format.strip}, or read the column as text: a feature as categorical, "
            "a label as multiclass with class_names"
        )
        raise DataError(
            f"{self.path}, line {line}, column {column!r}: {found}; expected {expected}. Repair the value, or "
            f"{own if self.format.own else 'get the file anew'}."
        )

    def _refuse_break(self, block: Block, start: int = 0) -> NoReturn:
        """Names the first line with a quote that does not end, or a carriage return that does not."""
        lines = enumerate(block.data.split(b"\n"), start or block.line)
        broken = ((number, line) for number, line in lines if line.count(b'"') % 2 or b"\r" in line[:-1])
        number, line = next(broken, (start or block.line, b""))
        raise DataError(
            f"{self.path}, line {number}: quote or line break inside a value ({short(line.decode())}). "
            f"{self._unquoted()}"
        )

    def _unquoted(self) -> str:
        return (
            "Pass quote=False if quotes are plain text here; else remove the break, or convert to Parquet."
            if self.format.own
            else "Get the file anew, or remove the break."
        )


def _arrow(dtype: DataType | Domain) -> pa.DataType:
    dtype = dtype.read if isinstance(dtype, Domain) else dtype
    return pl.Series([], dtype=dtype).to_arrow(compat_level=pl.CompatLevel.oldest()).type
