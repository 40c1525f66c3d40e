"""Gets the files of a data set that may be downloaded without a login."""

import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from mtlzoo.datamodules.archive import extract
from mtlzoo.datamodules.download import download


def obtain(url: str, archive: Path, *, there: Callable[[], object], md5: str = "", allowed: bool = True) -> None:
    """Unpacks an archive into its own folder, downloaded first where it is missing.

    Of several processes that call at once, one works and the others wait. Nothing happens where the archive is missing
    and may not be downloaded or the folder may not be written: the caller then says what it misses.

    Args:
        url: Where the archive comes from.
        archive: Where it is put; it stays there.
        there: Says whether the files that it holds are there already.
        md5: Expected checksum, if the publisher gives one.
        allowed: Whether it may be downloaded.

    Raises:
        DatasetNotFoundError: The server can't be reached or does not have it.
        DataError: A wrong checksum or a damaged archive.
    """
    folder = archive.parent
    if there() or not (archive.is_file() or (allowed and _writable(folder))):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".obtain.lock"):
        if not there():
            extract(download(url, archive, md5=md5), folder)


def _writable(folder: Path) -> bool:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return existing.is_dir() and os.access(existing, os.W_OK)
