"""A digest of everything that prepared data depend on, so that they are never mistaken for others."""

import hashlib
import json
import os
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtlzoo.datamodules.download.progress import progress, say
from mtlzoo.datamodules.errors import DamagedError, DataError
from mtlzoo.datamodules.prepare.storage import read_json, write_whole

FORMAT = 2
"""Number of the prepared layout; raised with every change that makes older folders wrong."""

MEMORY = "hashes.json"
_SETTLED_NS = 2_000_000_000
_BLOCK = 1 << 22
_END = 1 << 16


def fingerprint(plain: Mapping[str, Any], files: Sequence[Path], cache: Path, *, repeats: bool = True) -> str:
    """Digest of options, raw files and prepared layout.

    Files count by content and by name relative to the folder they have in common, so a data set may move. Contents are
    hashed once: the hashes are remembered in `cache` by path, and hold while the file that the path leads to, its size,
    inode, times of change of content and of inode, and its first and last 64 KiB are the same.

    Args:
        plain: What JSON can hold; the order of keys does not matter.
        files: Raw files, in the order of reading, which matters.
        cache: Folder of the remembered hashes.
        repeats: Whether two files may hold the same.

    Returns:
        64 hexadecimal digits.

    Raises:
        DataError: What should be a file is none, or two files hold the same and may not.
    """
    paths = [Path(os.path.abspath(file)) for file in files]  # noqa: PTH100  (resolve() would follow links)
    common = Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()
    hashes = _hashes(paths, cache / MEMORY)
    first: dict[str, Path] = {}
    for path in [] if repeats else paths:
        if (other := first.setdefault(hashes[str(path)], path)) != path:
            raise DataError(f"{other} and {path} hold the same: one lies in the place of another. Get both anew.")
    contents = [(path.relative_to(common).as_posix(), hashes[str(path)]) for path in paths]
    text = json.dumps([FORMAT, plain, contents], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _hashes(paths: Sequence[Path], memory: Path) -> dict[str, str]:
    known = _remembered(memory)
    hashes, new = {}, {}
    for path in paths:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path}: is no file. Put the publisher's file there, or give another folder.")
        stamp = _stamp(path, status)
        entry = known.get(str(path))
        if isinstance(entry, dict) and entry.get("stamp") == stamp and isinstance(entry.get("hash"), str):
            hashes[str(path)] = entry["hash"]
            continue
        hashes[str(path)] = _hash(path, status.st_size)
        # A file that changed a moment ago may change again within the same tick of its clock.
        if time.time_ns() - status.st_ctime_ns > _SETTLED_NS:
            new[str(path)] = {"stamp": stamp, "hash": hashes[str(path)]}
    if new:
        try:
            write_whole(memory, json.dumps(known | new).encode())
        except OSError as error:
            say(f"{memory}: cannot be written ({error.strerror}), so the raw files are hashed again next time.")
    return hashes


def _remembered(memory: Path) -> dict[str, Any]:
    if not memory.exists():
        return {}
    try:
        return read_json(memory)
    except DamagedError as damage:
        say(f"{damage}; the raw files are hashed again.")
        return {}


def _stamp(path: Path, status: os.stat_result) -> list[Any]:
    """What is compared instead of the whole contents.

    The time of the inode cannot be set, so contents that changed under the old time of change are seen; the ends are
    for file systems that do not keep it.
    """
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        digest.update(file.read(_END))
        file.seek(max(status.st_size - _END, 0))
        digest.update(file.read(_END))
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return [os.path.realpath(path), status.st_size, status.st_ino, *times, digest.hexdigest()]


def _hash(path: Path, size: int) -> str:
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file, progress(f"Checking {path.name}", size, unit="B") as advance:
        while block := file.read(_BLOCK):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()
