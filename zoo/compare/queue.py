"""Runs the cells of a comparison: one process each, beside any number of other processes that do the same."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from mtlzoo.compare.cells import LOG, CellFolder, environment
from mtlzoo.compare.matrix import Cell, Matrix

CLAIMED = 75
"""Status of a cell that was not run as another process works on it; ``EX_TEMPFAIL`` of sysexits.h."""
STOPPED = (129, 130, 143)
"""Statuses of a cell that was asked to end. It goes on where it was when somebody takes it up again."""
LOOK = 2.0
"""Seconds between two looks at what other processes have done."""


class Running(Protocol):
    """A cell at work somewhere."""

    def poll(self) -> int | None:
        """Its status once it has ended; negative for a signal."""

    def terminate(self) -> None:
        """Asks it to end."""


class Observer(Protocol):
    """Is told what happens."""

    def left(self, cells: Sequence[Cell], running: int) -> None:
        """Cells that are neither done nor failed, and how many of them run here."""

    def ended(self, cell: Cell, folder: CellFolder, seconds: float | None) -> None:
        """A cell is done or has failed, after so many seconds here; None elsewhere or before."""


class Place(Protocol):
    """Where cells run."""

    @property
    def jobs(self) -> int:
        """Cells at a time."""

    def start(self, cell: CellFolder, *, tests: bool) -> Running | None:
        """Starts a cell; None where another process works on it."""


class Local:
    """Runs cells on this machine.

    Args:
        jobs: Cells at a time, among which the cores are shared out.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    def start(self, cell: CellFolder, *, tests: bool) -> "subprocess.Popen[bytes] | None":
        """Starts a cell; None where another process works on it.

        The claim is handed on: it is the cell's as long as that runs, whatever becomes of this process.
        """
        claim = cell.claim()
        if claim is None:
            return None
        try:
            with (cell.path / LOG).open("ab") as log:
                return subprocess.Popen(
                    self.command(cell.path, claim, tests=tests),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment(self.jobs),
                    pass_fds=[claim],
                )
        finally:
            os.close(claim)

    def command(self, path: Path, claim: int, *, tests: bool) -> list[str]:
        """What is started for a cell."""
        words = ["compare", "--cell", str(path), "--claim", str(claim), "--test", str(tests).lower()]
        return [sys.executable, "-m", "mtlzoo", *words]


class Queue:
    """Runs what a matrix wants until nothing is left, by this process or by others.

    Args:
        matrix: Of which the cells are.
        root: Folder of the cells' folders.
        place: Where they run.
        observer: Is told what happens.
        retry: Runs cells again that have failed before.
    """

    def __init__(self, matrix: Matrix, root: Path, place: Place, observer: Observer, *, retry: bool = False) -> None:
        self.matrix = matrix
        self.root = root
        self.place = place
        self.observer = observer
        self.retry = retry
        self._seen: set[str] = set()
        self._ended: set[str] = set()
        self._running: dict[Cell, tuple[Running, float]] = {}
        self._scores: dict[str, float] = {}

    def folder(self, cell: Cell) -> CellFolder:
        """Of a cell; what failed before is forgiven at the first look, if asked."""
        folder = CellFolder(self.root / cell.folder)
        if self.retry and cell.folder not in self._seen:
            folder.forgive()
        self._seen.add(cell.folder)
        return folder

    def score(self, cell: Cell) -> float | None:
        """Of validation; see `Matrix.chosen`."""
        if cell.folder not in self._scores:
            found = self.folder(cell).score
            if found is None:
                return None
            self._scores[cell.folder] = found
        return self._scores[cell.folder]

    def run(self) -> None:
        """Runs all cells; those that run end with this process, and can be taken up again."""
        try:
            while left := self._left():
                self._fill(left)
                self.observer.left(left, len(self._running))
                self._wait()
        finally:
            self._stop()

    def _left(self) -> list[Cell]:
        """Cells that are wanted and neither done nor failed."""
        left = []
        for cell in self.matrix.wanted(self.score):
            key = f"{cell.folder} {cell.tests}"
            if key in self._ended:
                continue
            folder = self.folder(cell)
            if cell not in self._running and (folder.failure or folder.is_done(tested=cell.tests)):
                self._ended.add(key)
                self.observer.ended(cell, folder, None)
            else:
                left.append(cell)
        return left

    def _fill(self, left: Iterable[Cell]) -> None:
        for cell in left:
            if len(self._running) >= self.place.jobs:
                return
            if cell not in self._running:
                folder = self.folder(cell)
                folder.write(cell.words)
                process = self.place.start(folder, tests=cell.tests)
                if process is not None:
                    self._running[cell] = (process, time.monotonic())

    def _wait(self) -> None:
        """Until one of ours ends, or it is time to look what others have done."""
        until = time.monotonic() + LOOK
        while time.monotonic() < until and not self._reap():
            time.sleep(0.05)

    def _reap(self) -> bool:
        for cell, (process, began) in list(self._running.items()):
            status = process.poll()
            if status is None:
                continue
            del self._running[cell]
            folder = self.folder(cell)
            done = folder.is_done(tested=cell.tests)
            if status not in (CLAIMED, *STOPPED) and not done:
                folder.fail(status)
            if status == 0 or folder.failure:
                self._ended.add(f"{cell.folder} {cell.tests}")
                self.observer.ended(cell, folder, time.monotonic() - began)
            return True
        return False

    def _stop(self) -> None:
        for process, _ in self._running.values():
            process.terminate()
        for process, _ in self._running.values():
            while process.poll() is None:
                time.sleep(0.05)
