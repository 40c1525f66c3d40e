"""A digest of everything that prepared data depend on, so that they are never mistaken for others."""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtlzoo.datamodules.progress import progress

FORMAT = 2
"""Number of the prepared layout; raised with every change that makes older folders wrong."""

_SETTLED_NS = 2_000_000_000
_BLOCK = 1 << 22


def fingerprint(plain: Mapping[str, Any], files: Sequence[Path], cache: Path) -> str:
    """Digest of options, raw files and prepared layout.

    Files count by content and by name relative to the folder they have in common, so a data set may move. Contents are
    hashed once: the hashes are remembered in `cache` by path, size and time of change.

    Args:
        plain: What JSON can hold; the order of keys does not matter.
        files: Raw files, in the order of reading, which matters.
        cache: Folder of the remembered hashes.

    Returns:
        64 hexadecimal digits.
    """
    paths = [Path(os.path.abspath(file)) for file in files]  # noqa: PTH100  (resolve() would follow links)
    common = Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()
    hashes = _hashes(paths, cache / "hashes.json")
    contents = [(path.relative_to(common).as_posix(), hashes[str(path)]) for path in paths]
    text = json.dumps([FORMAT, plain, contents], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _hashes(paths: Sequence[Path], memory: Path) -> dict[str, str]:
    known: dict[str, list[Any]] = json.loads(memory.read_text()) if memory.exists() else {}
    hashes, new = {}, {}
    for path in paths:
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns]
        if known.get(str(path), [])[:2] == stamp:
            hashes[str(path)] = known[str(path)][2]
            continue
        hashes[str(path)] = _hash(path, status.st_size)
        # A file that changed a moment ago may change again within the same tick of its clock.
        if time.time_ns() - status.st_mtime_ns > _SETTLED_NS:
            new[str(path)] = [*stamp, hashes[str(path)]]
    if new:
        memory.parent.mkdir(parents=True, exist_ok=True)
        temporary = memory.with_name(f".{memory.name}.{os.getpid()}")
        temporary.write_text(json.dumps(known | new))
        temporary.replace(memory)
    return hashes


def _hash(path: Path, size: int) -> str:
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file, progress(f"Checking {path.name}", size, unit="B") as advance:
        while block := file.read(_BLOCK):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()
