"""Text files, plain or gzipped, as blocks of whole lines in UTF-8."""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

from typing_extensions import override

from mtlzoo.datamodules.download.web_pages import refuse_page
from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError

_GZIP_MAGIC = b"\x1f\x8b"
_LONGEST_LINE = 64 << 20
_HEAD = 1 << 16
_COUNTED = 4 << 20


@dataclass(frozen=True)
class Block:
    """Whole lines of a file.

    Args:
        data: UTF-8 text; ends with a line break, except at the end of a file that lacks one.
        path: The file.
        start: Bytes of the file, unpacked, before the block as it was read.
        headed: Lines taken off since: 1 if the names of the columns were.
    """

    data: bytes
    path: Path
    start: int
    headed: int = 0

    @property
    def line(self) -> int:
        """Number of its first line in the file, from 1."""
        # Only errors ask, so the file is read again: counting lines as they come takes a tenth of the time of parsing.
        left, line = self.start, 1 + self.headed
        with _open(self.path) as file:
            while left and (data := file.read(min(left, _COUNTED))):
                left -= len(data)
                line += data.count(b"\n")
        return line


def read_blocks(path: Path, encoding: str, size: int, *, quote: bool = False, own: bool = False) -> Iterator[Block]:
    """Yields the file as blocks of about `size` bytes, cut after a line break; a byte order mark is left out.

    Args:
        path: The file. Its lines may end with LF, CR LF or, all of them, with CR.
        encoding: As of `read_csv`.
        size: Bytes.
        quote: Whether a block is not to end between two ``"``, as a line break there ends no row.
        own: As of `read_csv`.

    Raises:
        DatasetNotFoundError: No such file.
        DataError: An empty file, a web page, a truncated or damaged gzip, a line without end, bytes that are 0 or
            not of `encoding`.
        ValueError: An encoding that Python does not know, or whose line breaks are not one byte.
    """
    encoding = known_encoding(encoding)
    start = 0
    with _open(path) as file:
        for data in _lines(file, path, size, quote):
            yield _utf8(Block(data if start else data.removeprefix(codecs.BOM_UTF8), path, start), encoding, own)
            start += len(data)


def known_encoding(encoding: str) -> str:
    """The name of an encoding whose line breaks are one byte.

    Raises:
        ValueError: Another one, or none that Python knows.
    """
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise ValueError(
            f"encoding={encoding!r}: unknown to Python; known are 'utf-8', 'latin-1', 'gb18030', ..."
        ) from None
    if name == "utf-8-sig":
        return "utf-8"  # whose byte order mark is left out anyway
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
    opened = cast(IO[bytes], gzip.open(path) if packed else path.open("rb"))  # noqa: SIM115  (the caller's)
    with suppress(EOFError, gzip.BadGzipFile, zlib.error):  # is told where all is read
        head = opened.read(_HEAD)
        if b"\r" in head and b"\n" not in head:
            opened.seek(0)
            return io.BufferedReader(_CarriageReturns(opened))
    opened.seek(0)
    return opened


class _CarriageReturns(io.RawIOBase):
    """A file whose lines end with CR, as old Macs and their Excel write them, with LF instead."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any) -> int:
        data = self.file.read(len(buffer)).replace(b"\r", b"\n")
        buffer[: len(data)] = data
        return len(data)

    @override
    def close(self) -> None:
        self.file.close()
        super().close()


def _lines(file: IO[bytes], path: Path, size: int, quote: bool) -> Iterator[bytes]:
    """Whole lines, `size` bytes and the rest of a line at a time, and with `quote` the rest of what is quoted."""
    total = 0
    while True:
        try:
            data = file.read(size)
            rest = file.readline(_LONGEST_LINE)
            if quote and (_quotes(data) + _quotes(rest)) % 2:
                rest += _to_the_quote(file)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(
                f"{path}: gzip truncated or damaged ({error}) after {total:,} bytes. Download it again."
            ) from error
        if len(rest) == _LONGEST_LINE and not rest.endswith(b"\n"):
            raise DataError(f"{path}: a line of more than {_LONGEST_LINE:,} bytes. Is this a text file?")
        if not data:
            break
        yield data + rest
        total += len(data) + len(rest)
    if not total:
        raise DataError(f"{path}: the file is empty. Download it again.")


def _quotes(data: bytes) -> int:
    return data.count(b'"') if b'"' in data else 0  # to find none costs a tenth of counting them


def _to_the_quote(file: IO[bytes]) -> bytes:
    """Lines up to one with an odd number of quotes; not without end, as a quote may be plain text."""
    lines: list[bytes] = []
    size = 0
    while size < _LONGEST_LINE and (line := file.readline(_LONGEST_LINE)):
        lines.append(line)
        size += len(line)
        if line.count(b'"') % 2:
            break
    return b"".join(lines)


def _utf8(block: Block, encoding: str, own: bool) -> Block:
    if b"\x00" in block.data:
        line = block.line + block.data.count(b"\n", 0, block.data.index(b"\x00"))
        raise DataError(
            f"{block.path}, line {line}: a byte that is 0, which no text has: a part of the file was lost, or it is no "
            "text (UTF-16?). Get it again, or run: iconv -f utf-16 -t utf-8 FILE"
        )
    if encoding in ("utf-8", "ascii") and block.data.isascii():
        return block
    try:
        text = block.data.decode(encoding)
    except UnicodeDecodeError as error:
        line = block.line + block.data.count(b"\n", 0, error.start)
        remedy = "Say which encoding the file has: encoding='latin-1', 'gb18030', ..." if own else "Get the file anew."
        raise DataError(
            f"{block.path}, line {line}: byte 0x{block.data[error.start]:02x} is not {encoding}. {remedy}"
        ) from error
    return block if encoding == "utf-8" else replace(block, data=text.encode())
