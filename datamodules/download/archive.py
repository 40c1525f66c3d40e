"""Unpacks archives without letting them write anywhere else, or more than they should hold."""

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from os import PathLike
from pathlib import Path, PurePosixPath, PureWindowsPath

from mtlzoo.datamodules.download.locks import locked
from mtlzoo.datamodules.download.progress import progress
from mtlzoo.datamodules.download.web_pages import refuse_page
from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError

RATIO = 100
"""An archive may unpack to so many times its size: tables of text, packed well, come to 20."""
HARMLESS = 1 << 20
"""Bytes that any archive may unpack to."""
_BLOCK = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)


def extract(archive: str | PathLike[str], folder: str | PathLike[str]) -> Path:
    """Unpacks a zip or tar archive (plain, gzip, bzip2 or xz).

    The archive is unpacked beside the folder's contents first and moved into place at the end, each of its outermost
    files and folders at once; a broken archive or a killed process leaves nothing half-unpacked.

    Args:
        archive: The file.
        folder: Where its contents go; made if need be, files of the same names are replaced.

    Returns:
        The folder.

    Raises:
        DatasetNotFoundError: No such archive.
        DataError: Not an archive (a web page, say), a damaged, empty, encrypted or oddly packed one; one that would
            write outside of the folder, more than `RATIO` times its size or than the disk has free, links, or a file
            where a folder is.
    """
    archive, folder = Path(archive), Path(folder)
    if not archive.is_file():
        raise DatasetNotFoundError(f"{archive}: no such file. Download it there, or correct the path.")
    refuse_page(archive)
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: is a file, where the folder for {archive.name} should be. Move it away.")
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{archive.name}.partial"
    waiting = f"{archive.name}: waiting for another process that unpacks it"
    with locked(folder / f".{archive.name}.lock", waiting=waiting):
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir()
            with progress(f"Unpacking {archive.name}", unit="B") as advance:
                for size in _unpacked(archive, partial):
                    advance(size)
            if not any(path.is_file() for path in partial.rglob("*")):
                raise DataError(f"{archive}: holds no file. Delete it and download it again.")
            _check_way(partial, folder)
            _move(partial, folder)
        except (*_DAMAGED, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # trouble of the disk, not of the archive
            raise DataError(f"{archive}: damaged ({error}). Delete it and download it again.") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _unpacked(archive: Path, folder: Path) -> Iterator[int]:
    """Unpacks member by member; yields their sizes."""
    room = _Room(archive, folder)
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            room.take(sum(info.file_size for info in file.infolist()))
            for info in file.infolist():
                _check_zipped(info, archive, folder)
                file.extract(info, folder)
                yield info.file_size
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            for member in tar:
                _check_name(member.name, archive, folder, is_folder=member.isdir())
                if member.issym() or member.islnk():
                    raise _refused(archive, f"its member {member.name!r} is a link")
                room.take(member.size)
                try:
                    tar.extract(member, folder, filter="data")
                except tarfile.FilterError as error:
                    raise _refused(archive, str(error)) from error
                yield member.size
            # To the end, where a compressed file has its checksum.
            while tar.fileobj and (rest := tar.fileobj.read(_BLOCK)):
                room.take(len(rest))
    else:
        raise DataError(f"{archive}: neither a zip nor a tar archive. Delete it and download it again.")


class _Room:
    """What an archive may still unpack to."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self.archive = archive
        self.most = max(archive.stat().st_size * RATIO, HARMLESS)
        self.free = shutil.disk_usage(folder).free
        self.taken = 0

    def take(self, size: int) -> None:
        """Counts bytes; refuses too many before they are written."""
        self.taken += size
        if self.taken > self.most:
            unpacked = f"it unpacks to {self.taken:,} bytes or more, over {RATIO} times its own size"
            raise _refused(self.archive, unpacked)
        if self.taken > self.free:
            raise DataError(
                f"{self.archive}: unpacks to {self.taken:,} bytes or more, and the disk has {self.free:,} free. Make "
                "room, or unpack it elsewhere and give that folder."
            )


def _check_zipped(info: zipfile.ZipInfo, archive: Path, folder: Path) -> None:
    _check_name(info.filename, archive, folder, is_folder=info.is_dir())
    if info.flag_bits & 0x1 or info.compress_type == 99:
        raise DataError(
            f"{archive}: its member {info.filename!r} is encrypted. Unpack it with its password, and give that folder."
        )
    if info.compress_type not in _METHODS or info.flag_bits & 0x60:
        raise DataError(
            f"{archive}: its member {info.filename!r} is packed by a method (number {info.compress_type}) that is not "
            "known here. Unpack it with another program, and give that folder."
        )
    if stat.S_ISLNK(info.external_attr >> 16):
        raise _refused(archive, f"its member {info.filename!r} is a link")


def _check_name(name: str, archive: Path, folder: Path, *, is_folder: bool) -> None:
    outside = ".." in PurePosixPath(name).parts or ".." in PureWindowsPath(name).parts
    if outside or name.startswith(("/", "\\")) or PureWindowsPath(name).drive:
        raise _refused(archive, f"its member {name!r} lies outside of the folder")
    path = folder / name
    parents = [parent for parent in path.parents if parent.is_relative_to(folder)]
    if any(parent.is_file() for parent in parents) or (path.exists() and path.is_dir() != is_folder):
        raise _refused(archive, f"its member {name!r} is a folder and a file at once")


def _refused(archive: Path, reason: str) -> DataError:
    return DataError(f"{archive}: refused, as {reason}. Do not use this archive.")


def _check_way(source: Path, target: Path) -> None:
    """Refuses to replace a file by a folder or a folder by a file, before anything is moved."""
    for path in source.rglob("*"):
        there = target / path.relative_to(source)
        if there.exists() and there.is_dir() != path.is_dir():
            found, instead = ("folder", "file") if there.is_dir() else ("file", "folder")
            raise DataError(f"{there}: is a {found}, where the archive has a {instead}. Move it away.")


def _move(source: Path, target: Path) -> None:
    if target.is_dir() and source.is_dir():
        for path in source.iterdir():
            _move(path, target / path.name)
    else:
        source.replace(target)
