"""How a text table is written, and the lines that its rows stand in."""

import csv
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mtlzoo.datamodules.reading.blocks import Block
from mtlzoo.options import check_options
from mtlzoo.schema import Name

Decimal: TypeAlias = Literal[".", ","]


@dataclass(frozen=True)
class Format:
    """How a text table is written: see `read_csv`.

    Raises:
        ValueError: A value that its annotation does not allow, or a separator that cannot be one.
    """

    separator: Name
    null_values: tuple[str, ...] = ()
    quote: bool = True
    decimal: Decimal = "."
    strip: bool = False
    own: bool = False

    def __post_init__(self) -> None:
        check_options(self)
        if set(self.separator) & set('"\r\n'):
            raise ValueError(f"separator={self.separator!r}; allowed are texts without quotes and line breaks.")


def nth_line(block: Block, row: int, format: Format) -> tuple[int, str]:
    """Number in the file and text of the block's row `row` (from 1; Arrow doesn't count blank lines)."""
    rows = records(block, format) if format.quote and b'"' in block.data else None
    if rows is None or row > len(rows):
        lines = enumerate(block.data.decode().split("\n"), block.line)
        rows = [(number, line, []) for number, line in lines if line not in ("", "\r")]
    number, text, _ = rows[row - 1]
    return number, text.rstrip("\r")


def records(block: Block, format: Format) -> list[tuple[int, str, list[str]]] | None:
    """First line, text and fields of each row, with breaks in what is quoted; None where that cannot be told."""
    lines = block.data.decode().split("\n")
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=format.separator)
    rows, start, first = [], 0, block.line
    try:
        for fields in reader:
            text = "\n".join(lines[start : reader.line_num])
            if text not in ("", "\r"):
                rows.append((first + start, text, fields))
            start = reader.line_num
    except csv.Error:
        return None
    return rows


def short(text: str) -> str:
    """A text as messages show it."""
    return repr(text if len(text) <= 80 else text[:77] + "...")
