"""From raw rows to the prepared folder: once, whole or not at all, in memory that does not grow with the rows.

Raw rows are read once. They are checked, split and staged on disk; vocabularies and statistics are learned from the
staged rows of train; the staged rows are encoded into the final columns.
"""

import errno
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import polars as pl
from filelock import FileLock, Timeout

from mtlzoo.datamodules.columns import Recipe
from mtlzoo.datamodules.download.locks import locked
from mtlzoo.datamodules.download.progress import progress, say
from mtlzoo.datamodules.errors import DamagedError, DataError, DataWarning
from mtlzoo.datamodules.prepare.checksums import FILE as CHECKSUMS
from mtlzoo.datamodules.prepare.checksums import seal, verify
from mtlzoo.datamodules.prepare.encoding import Encoding
from mtlzoo.datamodules.prepare.fingerprint import FORMAT
from mtlzoo.datamodules.prepare.joined import Frame, fit_together, together
from mtlzoo.datamodules.prepare.links import read_links
from mtlzoo.datamodules.prepare.manifest import account, versions
from mtlzoo.datamodules.prepare.passes import Passes
from mtlzoo.datamodules.prepare.storage import sync, write_json
from mtlzoo.datamodules.reading.tally import Tally
from mtlzoo.datamodules.values.checks import check_columns
from mtlzoo.datamodules.values.names import file_stem

CHUNK = 1 << 18
"""Rows per chunk."""
ELSEWHERE = "give another folder: prepared=, or MTLZOO_CACHE"


def prepare(
    recipe: Recipe,
    read: Callable[[], Iterator[Frame]],
    folder: Path,
    *,
    name: str,
    links: Callable[[str], Iterator[pl.DataFrame]] | None = None,
    like: Encoding | None = None,
    tally: Tally | None = None,
) -> None:
    """Prepares a data set unless a finished preparation is there, and is what was written.

    Of several processes that call at once, one prepares and the others wait for it. What a killed process left behind
    is never used and is removed by the next one: the folder gets its name when it is complete and on disk. While it
    works, it needs about twice the disk space of the result.

    Args:
        recipe: Columns, labels and split.
        read: Yields the raw rows, in frames of any size, with at least the recipe's columns. Called once.
        folder: Where the prepared data will be.
        name: Name of the data set, for messages and the manifest.
        links: Yields the frames of links by their name; see `read_links`. Called once for each of the recipe's.
        like: Encodes as a former training of the same columns did; None learns from train.
        tally: Where `read` counts what it leaves out and does not find.

    Raises:
        DataError: Rows that are not what the recipe says: with column, row, value and remedy. No row in a split that
            the recipe needs; more rows lost than `read` said may be.
        ValueError: A recipe that contradicts itself.
    """
    with suppress(DamagedError):
        verify(folder)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder, name):
        _remove_damaged(folder, name)
        if folder.exists():
            return
        _remove_stale(folder)
        partial = _partial(folder)
        try:
            partial.mkdir()
            said, remarks = _build(recipe, read, partial, folder, name, links, like, tally or Tally())
            sync(partial)
            partial.replace(folder)
            sync(folder.parent, recursive=False)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
                needs = "while it works, a preparation needs about twice the space of its result"
                raise DataError(f"{name}: {folder.parent} is full; {needs}. Make room, or {ELSEWHERE}.") from error
            raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    say(said)
    for remark in remarks:
        warnings.warn_explicit(remark, DataWarning, "mtlzoo", 0)  # no line of code is to blame


def verify_whole(folder: Path, name: str) -> None:
    """Compares all that was prepared with its checksums; says what is damaged, and removes it.

    Raises:
        DataError: What is damaged can't be removed.
    """
    if folder.exists():
        with _alone(folder, name):
            _remove_damaged(folder, name, whole=True)


def _remove_damaged(folder: Path, name: str, *, whole: bool = False) -> None:
    """Removes what is not as it was prepared: it is never used, and the raw files are there to prepare it anew."""
    if not (folder.exists() or folder.is_symlink()):
        return
    try:
        verify(folder, whole=whole)
    except DamagedError as damage:
        if not any((folder / file).exists() for file in ("manifest.json", CHECKSUMS)):
            wrong = f"{folder}: exists, but is no finished preparation (no manifest.json)"
            raise DataError(f"{wrong}. Delete it.") from None
        say(f"{name}: prepared data are damaged and made anew. {damage}.")
        try:
            if folder.is_symlink():
                folder.unlink()
            else:
                shutil.rmtree(folder.replace(_partial(folder)))
        except OSError as error:
            wrong = f"{damage}. It cannot be removed and made anew ({error.strerror or error})"
            raise DataError(f"{wrong}. Delete {folder}, or {ELSEWHERE}.") from error


def _remove_stale(folder: Path) -> None:
    """Removes what killed processes left behind, of this preparation and of others that nobody works on."""
    for stale in folder.parent.glob(".*.partial"):
        owner = stale.name[1:].rsplit(".", 2)[0]
        if owner == folder.name:
            shutil.rmtree(stale)
            continue
        # Another user's may stay.
        with suppress(Timeout, OSError), FileLock(folder.with_name(f"{owner}.lock"), timeout=0):
            shutil.rmtree(stale)


def _partial(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.{os.getpid()}.partial")


def _alone(folder: Path, name: str) -> AbstractContextManager[None]:
    lock = folder.with_name(f"{folder.name}.lock")
    return locked(lock, waiting=f"{name}: waiting for another process that prepares {folder}")


def _build(
    recipe: Recipe,
    read: Callable[[], Iterator[Frame]],
    partial: Path,
    folder: Path,
    name: str,
    links: Callable[[str], Iterator[pl.DataFrame]] | None,
    like: Encoding | None,
    tally: Tally,
) -> tuple[str, list[str]]:
    """Fills the folder; returns what to say of it."""
    began = time.monotonic()
    work = partial / "work"
    work.mkdir()
    tally.clear()
    with ThreadPoolExecutor(os.cpu_count()) as pool, ThreadPoolExecutor(1) as reader:
        passes = Passes(recipe, work, pool, like)
        with progress(f"{name}: reading") as advance:
            passes.stage(_ahead(_chunks(read(), passes.plan.raw_columns, name, tally), reader), advance)
        lost = tally.plain()  # of this reading; links may read the rows once more
        total = passes.staged.rows
        with progress(f"{name}: learning", total) as advance:
            rows = passes.learn(advance)
        with progress(f"{name}: encoding", total) as advance:
            rates = passes.encode(partial, rows, advance)
    of_links = Tally()
    for link in recipe.links if recipe.labelled else ():
        assert links is not None
        column, table = passes.plan.table_of(link)
        read_links(link.name, links, table, column, of_links).save(partial / "links" / file_stem(link.name))
    lost["missed"] |= of_links.plain()["missed"]
    shutil.rmtree(work)
    seconds = time.monotonic() - began
    write_json(partial / "schema.json", rates.schema.to_dict())
    manifest = {
        "name": name,
        "fingerprint": folder.name,
        "format": FORMAT,
        "rows": rows,
        "labelled": recipe.labelled,
        **lost,
        "label_rates": rates.labels(),
        "unknown_rates": rates.unknown(),
        "versions": versions(),
        "seconds": round(seconds, 3),
        "rows_per_second": round(total / seconds),
    }
    write_json(partial / "manifest.json", manifest)
    seal(partial, passes.checksums)
    said = f"{name}: prepared; {account(manifest)}; {seconds:.1f} s: {folder}"
    return said, [f"{name}: {line}" for line in passes.remarks.lines(rows)]


def _chunks(frames: Iterator[Frame], columns: Sequence[str], name: str, tally: Tally) -> Iterator[Frame]:
    """The wanted columns in chunks of at most `CHUNK` rows; small frames of the same types come together."""
    waiting: list[Frame] = []
    rows = 0
    for frame in frames:
        rows += len(frame)
        check_columns(name, frame.columns, columns)
        frame = frame.select(columns)
        if waiting and (sum(map(len, waiting)) + len(frame) > CHUNK or not fit_together(frame, waiting[0])):
            yield together(waiting)
            waiting = []
        if len(frame) > CHUNK:
            yield from (frame.slice(start, CHUNK) for start in range(0, len(frame), CHUNK))
        elif len(frame):
            waiting.append(frame)
    tally.check(name)
    if not rows:
        dropped = tally.plain()["dropped"]
        lost = f"no row is left of the raw files; dropped: {dropped}" if dropped else "the raw files hold no rows"
        raise DataError(f"{name}: {lost}. Check that they are whole.")
    if waiting:
        yield together(waiting)


def _ahead(frames: Iterator[Frame], reader: ThreadPoolExecutor) -> Iterator[Frame]:
    """Reads the next frame while the last one is worked on."""
    pending = reader.submit(next, frames, None)
    while (frame := pending.result()) is not None:
        pending = reader.submit(next, frames, None)
        yield frame
