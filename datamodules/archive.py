"""Unpacks archives without letting them write anywhere else."""

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from os import PathLike
from pathlib import Path, PurePosixPath, PureWindowsPath

from filelock import FileLock

from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError
from mtlzoo.datamodules.pages import refuse_page
from mtlzoo.datamodules.progress import progress


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
        DataError: Not an archive (a web page, say), a damaged one, or one that would write outside of the folder.
    """
    archive, folder = Path(archive), Path(folder)
    if not archive.is_file():
        raise DatasetNotFoundError(f"{archive}: no such file. Download it there, or correct the path.")
    refuse_page(archive)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{archive.name}.partial"
    with FileLock(folder / f".{archive.name}.lock"):
        shutil.rmtree(partial, ignore_errors=True)
        try:
            with progress(f"Unpacking {archive.name}", unit="B") as advance:
                for size in _unpacked(archive, partial):
                    advance(size)
            _move(partial, folder)
        except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # trouble of the disk, not of the archive
            raise DataError(f"{archive}: damaged ({error}). Delete it and download it again.") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _unpacked(archive: Path, folder: Path) -> Iterator[int]:
    """Unpacks member by member; yields their sizes."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                _check_name(info.filename, archive)
                file.extract(info, folder)
                yield info.file_size
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as file:
            for member in file:
                _check_name(member.name, archive)
                try:
                    file.extract(member, folder, filter="data")
                except tarfile.FilterError as error:
                    raise DataError(f"{archive}: refused, as {error}. Do not use this archive.") from error
                yield member.size
            while file.fileobj and file.fileobj.read(1 << 20):
                pass  # to the end, where a compressed file has its checksum
    else:
        raise DataError(f"{archive}: neither a zip nor a tar archive. Delete it and download it again.")


def _check_name(name: str, archive: Path) -> None:
    outside = ".." in PurePosixPath(name).parts or ".." in PureWindowsPath(name).parts
    if outside or name.startswith("/") or PureWindowsPath(name).drive:
        raise DataError(
            f"{archive}: refused, as its member {name!r} lies outside of the folder. Do not use this archive."
        )


def _move(source: Path, target: Path) -> None:
    if target.is_dir() and source.is_dir() and not source.is_symlink():
        for path in source.iterdir():
            _move(path, target / path.name)
    else:
        source.replace(target)
