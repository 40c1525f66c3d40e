"""Files that are the old one or the whole new one, whatever happens meanwhile, and are never written through a link."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

PARTS = ".*.????????.part"
"""Pattern of the names under which files are written until they are whole; readers skip names with a dot in front."""


@contextmanager
def whole_file(path: Path, mode: str = "wb", **how: Any) -> Iterator[IO[Any]]:
    """Opens a new file that takes the place of `path` when the block ends, and leaves nothing where it fails.

    A link at `path` is replaced, not followed: what it points to stays as it is.

    Args:
        path: The file; its folder exists.
        mode: ``wb`` or ``w``.
        **how: Passed to `open`.

    Raises:
        OSError: The folder is a link or can't be written, or the disk is full; the error names `path`.
    """
    part = f".{path.name}.{secrets.token_hex(4)}.part"
    with _names(path, part):
        folder = _open_folder(path.parent)
        try:
            new = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            descriptor = os.open(part, new, 0o666, dir_fd=folder)
            try:
                with os.fdopen(descriptor, mode, **how) as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(part, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(part, dir_fd=folder)
                raise
            os.fsync(folder)
        finally:
            os.close(folder)


def append(path: Path, text: str) -> None:
    """Appends a text to a file, all of it or nothing.

    Raises:
        OSError: `path` is a link or can't be written, or the disk is full.
    """
    with _names(path, path.name):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        try:
            before = os.fstat(descriptor).st_size
            try:
                rest = text.encode()
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            except BaseException:
                os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)


def own_folder(path: Path) -> Path:
    """Makes a folder where there is none.

    Raises:
        OSError: It is a link: what is written or deleted there would be somebody else's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.mkdir()
    with _names(path, path.name):
        os.close(_open_folder(path))
    return path


def _open_folder(path: Path) -> int:
    if path.is_symlink():
        said = f"is a link to {path.resolve()}, and nothing is written through links; give that folder, or make one"
        raise OSError(errno.ELOOP, said, str(path))
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


@contextmanager
def _names(path: Path, part: str) -> Iterator[None]:
    """Errors of the system name the file that was asked for."""
    try:
        yield
    except OSError as error:
        if error.filename in (None, part):
            error.filename = str(path)
        raise
