"""Text files, plain or gzipped, as blocks of whole lines in UTF-8."""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np

from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError
from mtlzoo.datamodules.pages import refuse_page

_GZIP_MAGIC = b"\x1f\x8b"
_NEWLINE = 10
_LONGEST_LINE = 64 << 20


@dataclass(frozen=True)
class Block:
    """Whole lines of a file.

    Args:
        data: UTF-8 text; ends with a line break, except at the end of a file that lacks one.
        line: Number of its first line in the file, from 1.
    """

    data: bytes
    line: int


def read_blocks(path: Path, encoding: str, size: int) -> Iterator[Block]:
    """Yields the file as blocks of about `size` bytes, cut after a line break; a byte order mark is left out.

    Raises:
        DatasetNotFoundError: No such file.
        DataError: An empty file, a web page, a truncated or damaged gzip, a line without end, bytes that are not of
            `encoding`.
        ValueError: An encoding that Python does not know, or whose line breaks are not one byte.
    """
    encoding = _known(encoding)
    line = 1
    with _open(path) as file:
        for data in _lines(file, path, size):
            yield Block(_utf8(data, encoding, path, line), line)
            line += int(np.count_nonzero(np.frombuffer(data, np.uint8) == _NEWLINE))  # bytes.count takes twice as long


def _known(encoding: str) -> str:
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise ValueError(
            f"encoding={encoding!r}: unknown to Python; known are 'utf-8', 'latin-1', 'gb18030', ..."
        ) from None
    if "\n".encode(name) != b"\n":
        raise ValueError(
            f"encoding={encoding!r}: its line breaks are not one byte. Run: iconv -f {encoding} -t utf-8 FILE"
        )
    return name


def _open(path: Path) -> IO[bytes]:
    if not path.is_file():
        raise DatasetNotFoundError(f"{path}: no such file. Put it there, or correct the path.")
    refuse_page(path)
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP_MAGIC
    if path.suffix == ".gz" and not packed:
        raise DataError(
            f"{path}: named .gz but not a gzip file. Download it again, or drop the .gz if it is plain text."
        )
    return cast(IO[bytes], gzip.open(path) if packed else path.open("rb"))


def _lines(file: IO[bytes], path: Path, size: int) -> Iterator[bytes]:
    """Whole lines, `size` bytes and the rest of a line at a time."""
    total = 0
    while True:
        try:
            data = file.read(size)
            rest = file.readline(_LONGEST_LINE)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(
                f"{path}: gzip truncated or damaged ({error}) after {total:,} bytes. Download it again."
            ) from error
        if len(rest) == _LONGEST_LINE:
            raise DataError(f"{path}: a line of more than {_LONGEST_LINE:,} bytes. Is this a text file?")
        if not data:
            break
        yield data + rest if total else (data + rest).removeprefix(codecs.BOM_UTF8)
        total += len(data) + len(rest)
    if not total:
        raise DataError(f"{path}: the file is empty. Download it again.")


def _utf8(data: bytes, encoding: str, path: Path, line: int) -> bytes:
    if encoding in ("utf-8", "ascii") and data.isascii():
        return data
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        raise DataError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not {encoding}. "
            "Say which encoding the file has: encoding='latin-1', 'gb18030', ..."
        ) from error
    return data if encoding == "utf-8" else text.encode()
