"""Gets the files of a data set that may be downloaded without a login."""

import os
from collections.abc import Callable
from pathlib import Path

from mtlzoo.datamodules.download.archive import extract
from mtlzoo.datamodules.download.fetch import download
from mtlzoo.datamodules.download.locks import locked


def obtain(
    url: str,
    archive: Path,
    *,
    there: Callable[[], object],
    md5: str = "",
    allowed: bool = True,
    into: Path | None = None,
) -> None:
    """Unpacks an archive into its own folder, downloaded first where it is missing.

    Of several processes that call at once, one works and the others wait. Nothing happens where the archive is missing
    and may not be downloaded or the folder may not be written: the caller then says what it misses.

    Args:
        url: Where the archive comes from.
        archive: Where it is put; it stays there.
        there: Says whether the files that it holds are there already.
        md5: Expected checksum, if the publisher gives one.
        allowed: Whether it may be downloaded.
        into: Another folder to unpack it in.

    Raises:
        DatasetNotFoundError: The server can't be reached or does not have it.
        DataError: A wrong checksum or a damaged archive.
    """
    folder = into or archive.parent
    if there() or not (archive.is_file() or (allowed and writable(archive.parent))):
        return
    folder.mkdir(parents=True, exist_ok=True)
    waiting = f"{archive.name}: waiting for another process that gets it"
    with locked(folder / ".obtain.lock", waiting=waiting):
        if not there():
            # What is there and has no checksum needs no folder that can be written.
            extract(archive if archive.is_file() and not md5 else download(url, archive, md5=md5), folder)


def place_of(archive: Path, prepared: Path) -> Path:
    """Where an archive is unpacked: beside it, or among the prepared data where it lies and nothing may be written."""
    if writable(archive.parent) or not archive.is_file():
        return archive.parent
    status = archive.stat()
    return prepared / "unpacked" / f"{archive.stem}-{status.st_size}-{status.st_mtime_ns}"


def writable(folder: Path) -> bool:
    """Whether files may be put in a folder, or in the one where it would be made."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return existing.is_dir() and os.access(existing, os.W_OK)
