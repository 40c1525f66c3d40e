"""From raw rows to the prepared folder: once, whole or not at all, in memory that does not grow with the rows.

Raw rows are read once. They are checked, split and staged on disk; vocabularies and statistics are learned from the
staged rows of train; the staged rows are encoded into the final columns.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl
from filelock import FileLock, Timeout

from mtlzoo.datamodules.checks import check_columns
from mtlzoo.datamodules.columns import Recipe
from mtlzoo.datamodules.encoding import Encoding
from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.files import sync, write_json
from mtlzoo.datamodules.fingerprint import FORMAT
from mtlzoo.datamodules.links import read_links
from mtlzoo.datamodules.manifest import account, versions
from mtlzoo.datamodules.passes import Passes
from mtlzoo.datamodules.progress import progress, say
from mtlzoo.datamodules.tally import Tally

CHUNK = 1 << 18
"""Rows per chunk."""


def prepare(
    recipe: Recipe,
    read: Callable[[], Iterator[pl.DataFrame]],
    folder: Path,
    *,
    name: str,
    links: Callable[[str], Iterator[pl.DataFrame]] | None = None,
    like: Encoding | None = None,
    tally: Tally | None = None,
) -> None:
    """Prepares a data set unless a finished preparation is there.

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
    if _finished(folder):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder, name):
        if _finished(folder):
            return
        if folder.exists():
            raise DataError(f"{folder}: exists, but is no finished preparation (no manifest.json). Delete it.")
        _remove_stale(folder)
        partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
        partial.mkdir()
        try:
            _build(recipe, read, partial, folder, name, links, like, tally or Tally())
            sync(partial)
            partial.replace(folder)
            sync(folder.parent, recursive=False)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _remove_stale(folder: Path) -> None:
    """Removes what killed processes left behind, of this preparation and of others that nobody works on."""
    for stale in folder.parent.glob(".*.partial"):
        owner = stale.name[1:].rsplit(".", 2)[0]
        if owner == folder.name:
            shutil.rmtree(stale)
            continue
        with suppress(Timeout), FileLock(folder.with_name(f"{owner}.lock"), timeout=0):
            shutil.rmtree(stale)


def _finished(folder: Path) -> bool:
    return (folder / "manifest.json").exists()


@contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        lock.acquire(timeout=1)
    except Timeout:
        say(f"{name}: waiting for another process that prepares {folder}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _build(
    recipe: Recipe,
    read: Callable[[], Iterator[pl.DataFrame]],
    partial: Path,
    folder: Path,
    name: str,
    links: Callable[[str], Iterator[pl.DataFrame]] | None,
    like: Encoding | None,
    tally: Tally,
) -> None:
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
    for link in recipe.links:
        assert links is not None
        column, table = passes.plan.table_of(link)
        read_links(link.name, links, table, column, of_links).save(partial / "links" / link.name)
    lost["missed"] |= of_links.plain()["missed"]
    shutil.rmtree(work)
    seconds = time.monotonic() - began
    write_json(partial / "schema.json", rates.schema.to_dict())
    manifest = {
        "name": name,
        "fingerprint": folder.name,
        "format": FORMAT,
        "rows": rows,
        **lost,
        "label_rates": rates.labels(),
        "unknown_rates": rates.unknown(),
        "versions": versions(),
        "seconds": round(seconds, 3),
        "rows_per_second": round(total / seconds),
    }
    write_json(partial / "manifest.json", manifest)
    say(f"{name}: prepared; {account(manifest)}; {seconds:.1f} s: {folder}")


def _chunks(frames: Iterator[pl.DataFrame], columns: Sequence[str], name: str, tally: Tally) -> Iterator[pl.DataFrame]:
    """The wanted columns in chunks of at most `CHUNK` rows; small frames of the same types come together."""
    waiting: list[pl.DataFrame] = []
    rows = 0
    for frame in frames:
        rows += len(frame)
        check_columns(name, frame.columns, columns)
        frame = frame.select(columns)
        if waiting and (sum(map(len, waiting)) + len(frame) > CHUNK or frame.schema != waiting[0].schema):
            yield pl.concat(waiting)
            waiting = []
        if len(frame) > CHUNK:
            yield from frame.iter_slices(CHUNK)
        elif len(frame):
            waiting.append(frame)
    tally.check(name)
    if not rows:
        dropped = tally.plain()["dropped"]
        lost = f"no row is left of the raw files; dropped: {dropped}" if dropped else "the raw files hold no rows"
        raise DataError(f"{name}: {lost}. Check that they are whole.")
    if waiting:
        yield pl.concat(waiting)


def _ahead(frames: Iterator[pl.DataFrame], reader: ThreadPoolExecutor) -> Iterator[pl.DataFrame]:
    """Reads the next frame while the last one is worked on."""
    pending = reader.submit(next, frames, None)
    while (frame := pending.result()) is not None:
        pending = reader.submit(next, frames, None)
        yield frame
