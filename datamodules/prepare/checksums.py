"""Checksums of prepared files: made while they are written, compared when they are opened."""

import json
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mtlzoo.datamodules.download.progress import progress
from mtlzoo.datamodules.errors import DamagedError
from mtlzoo.datamodules.prepare.storage import BLOCK, Checksum, read_json, write_whole

FILE = "checksums.json"
CHEAP = 1 << 28
"""Bytes that are compared at every opening: a tenth of a second."""


def seal(folder: Path, written: Mapping[Path, Checksum]) -> None:
    """Records size, time and checksums of every file of a folder.

    Args:
        folder: All that was prepared.
        written: Checksums that were made while files were written; the others are read again.
    """
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        status = path.stat()
        checksum = written.get(path) or _checksum(path)
        entry = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "crc32": str(checksum)}
        files[path.relative_to(folder).as_posix()] = entry
    _save(folder, files)


def verify(folder: Path, *, whole: bool = False) -> None:
    """Compares the files of a folder with what was recorded of them.

    Sizes and times of all files always; contents up to `CHEAP` bytes in all, in blocks spread evenly over what is
    larger, but the whole of a file whose time is not the recorded one. If its contents are, the new time is recorded.

    Args:
        folder: All that was prepared.
        whole: Whether to compare all contents.

    Raises:
        DamagedError: With the file and how it differs.
    """
    path = folder / FILE
    plain = read_json(path)
    files: dict[str, Any] = plain.get("files", {})
    if plain.get("crc32") != _digest(files):
        raise DamagedError(f"{path}: is not what was written")
    if unknown := {file.relative_to(folder).as_posix() for file in folder.rglob("*.npy")} - set(files):
        raise DamagedError(f"{folder / min(unknown)}: was not written by the preparation")
    total = sum(entry["size"] for entry in files.values())
    step = 1 if whole else -(-total // CHEAP)
    retimed = False
    with progress(f"Verifying {folder.name}", total, unit="B") as advance:
        for name, entry in files.items():
            mtime = _compare(folder / name, entry, step)
            retimed |= mtime != entry["mtime_ns"]
            entry["mtime_ns"] = mtime
            advance(entry["size"])
    if retimed:
        with suppress(OSError):  # a folder that may only be read is compared again next time
            _save(folder, files)


def _compare(path: Path, entry: Mapping[str, Any], step: int) -> int:
    """Compares every `step`-th block, the first and the last; returns the time of change."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise DamagedError(f"{path}: is missing") from None
    if status.st_size != entry["size"]:
        raise DamagedError(f"{path}: has {status.st_size:,} bytes, {entry['size']:,} were written")
    checksums = entry["crc32"]
    blocks = len(checksums) // 8
    if status.st_mtime_ns != entry["mtime_ns"]:
        step = 1
    with path.open("rb") as file:
        for block in sorted({*range(0, blocks, step), blocks - 1} - {-1}):
            file.seek(block * BLOCK)
            if f"{zlib.crc32(file.read(BLOCK)):08x}" != checksums[8 * block : 8 * block + 8]:
                raise DamagedError(f"{path}: is not what was written, from byte {block * BLOCK:,} on")
    return status.st_mtime_ns


def _checksum(path: Path) -> Checksum:
    checksum = Checksum()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            checksum.add(block)
    return checksum


def _save(folder: Path, files: Mapping[str, Any]) -> None:
    write_whole(folder / FILE, json.dumps({"crc32": _digest(files), "block": BLOCK, "files": files}, indent=1).encode())


def _digest(files: Any) -> str:
    return f"{zlib.crc32(json.dumps(files, sort_keys=True).encode()):08x}"
