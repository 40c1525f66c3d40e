"""Locks among processes, with words where there can be none."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mtlzoo.datamodules.download.progress import say
from mtlzoo.datamodules.errors import DataError


@contextmanager
def locked(path: Path, *, waiting: str) -> Iterator[None]:
    """Holds a lock file; of several processes one after the other does.

    Args:
        path: The lock file; it stays.
        waiting: What to say where another process has it.

    Raises:
        DataError: The file can't be made, belongs to somebody else, or its file system knows no locks.
    """
    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=1)
        except Timeout:
            say(waiting)
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path}: cannot be locked ({reason}). Let this user write to it and its folder, on a file system that has "
            "locks, or give another folder: prepared=, or MTLZOO_CACHE."
        ) from error
    try:
        yield
    finally:
        lock.release()
