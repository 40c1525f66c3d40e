"""What a comparison says while it runs: one line per finished cell, and how long it will take."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from mtlzoo.compare.cells import CellFolder
from mtlzoo.compare.matrix import Cell


class Times:
    """How long cells took, by kind."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, ...], list[float]] = defaultdict(list)

    def add(self, cell: Cell, seconds: float) -> None:
        """A cell took so long."""
        for kind in _kinds(cell):
            self._seen[kind].append(seconds)

    def left(self, cells: Iterable[Cell], jobs: int) -> float | None:
        """Seconds that so many cells take: by those of the same kind, else of the same data, else by all.

        None as long as none was measured.
        """
        means = {kind: sum(seen) / len(seen) for kind, seen in self._seen.items()}
        if not means:
            return None
        return sum(next(means[kind] for kind in _kinds(cell) if kind in means) for cell in cells) / max(jobs, 1)


def _kinds(cell: Cell) -> list[tuple[str, ...]]:
    data, name = cell.contender.data, cell.contender.name
    return [(data, name, str(cell.tests)), (data, name), (data,), ()]


class Report:
    """Prints what happens; on a terminal below a bar.

    Args:
        console: Where.
        total: Cells in all.
        jobs: Cells at a time.
    """

    def __init__(self, console: Console, total: int, jobs: int) -> None:
        self.console = console
        self.total = total
        self.jobs = jobs
        self.failed: dict[Cell, CellFolder] = {}
        self.times = Times()
        self._done: set[str] = set()  # one of the search that is tested later is still one
        self._waiting = False
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        self.bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self.bar.add_task("cells", total=total)

    def left(self, cells: Sequence[Cell], running: int) -> None:
        """Says that others do the rest, once."""
        if not running and not self._waiting:
            self.console.print(f"{len(cells)} cells are run by other processes; waiting for them.")
        self._waiting = not running
        seconds = self.times.left(cells, self.jobs)
        self.bar.update(self._task, completed=len(self._done), description=f"cells{_about(seconds)}")
        self._cells = cells

    def ended(self, cell: Cell, folder: CellFolder, seconds: float | None) -> None:
        """Prints a line for a cell that ended here, and counts all."""
        self._done.add(cell.folder)
        if folder.failure:
            self.failed[cell] = folder
            self._say_failed(cell, folder)
            return
        record = folder.record("fit.json") or {}
        self.times.add(cell, seconds if seconds is not None else float(record.get("seconds") or 0.0))
        if seconds is None:
            return
        rest = [other for other in self._cells if other != cell]
        said = f"{record.get('monitor')} {record['best']:.4f}" if record.get("best") is not None else "no score"
        line = f"[{len(self._done)}/{self.total}] {cell.contender.data}  {cell.contender.name}  seed {cell.seed}"
        chosen = " ".join(f"{option.name}={option.value}" for option in cell.chosen)
        more = f"  {chosen}" if chosen else ""
        about = _about(self.times.left(rest, self.jobs))
        self.console.print(f"{line}{more}  {said}  {seconds:.0f} s{about}", markup=False, highlight=False)

    def _say_failed(self, cell: Cell, folder: CellFolder) -> None:
        failure = folder.failure or {}
        place = folder.path / "log.txt"
        name = f"{cell.contender.data}  {cell.contender.name}  seed {cell.seed}"
        said = "\n".join(f"    {line}" for line in failure.get("log", [])[-8:])
        text = f"[{len(self._done)}/{self.total}] {name}  FAILED with {failure.get('status')}, see {place}\n{said}"
        self.console.print(text, markup=False, highlight=False)

    def __enter__(self) -> "Report":
        """Shows the bar."""
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Takes it away."""
        self.bar.stop()


def _about(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 90:
        return f"; about {seconds:.0f} s left"
    return f"; about {seconds / 60:.0f} min left" if seconds < 5400 else f"; about {seconds / 3600:.1f} h left"
