"""``mtlzoo compare``: a matrix of trainings, each done once, and what they say side by side."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace

from mtlzoo.cli.cell import run_cell
from mtlzoo.cli.checked import CellCheck
from mtlzoo.cli.parser import Parser
from mtlzoo.cli.prepare import data_of
from mtlzoo.cli.shipped import shipped
from mtlzoo.compare.cells import CellFolder
from mtlzoo.compare.file import read_comparison
from mtlzoo.compare.matrix import Cell, Matrix
from mtlzoo.compare.progress import Report
from mtlzoo.compare.queue import Local, Queue
from mtlzoo.compare.results import Result
from mtlzoo.console import wide_console

KEEP_ROWS = 1_000_000
"""Rows of test up to which the outputs of a cell are kept."""


def run(args: Sequence[str]) -> None:
    """Checks a file, runs its cells, and writes the leaderboard and the page."""
    options = _parser().parse_args(list(args[1:]))
    if options.cell is not None:
        run_cell(options.cell, options.claim, test=options.test, keep_rows=options.keep_rows)
        return
    _needed(options)
    comparison = read_comparison(options.file)
    matrix = Matrix(comparison, CellCheck(options.file))
    if options.dry_run:
        _show(matrix, options)
        return
    root = (options.out / "cells").resolve()
    root.mkdir(parents=True, exist_ok=True)
    _prepare(matrix)
    console = wide_console()
    with Report(console, len(matrix), options.jobs) as report:
        queue = Queue(matrix, root, Local(options.jobs), report, retry=options.retry)
        queue.run()
    print(len(results(matrix, queue)))
    if report.failed:
        raise SystemExit(1)


def results(matrix: Matrix, queue: Queue) -> list[Result]:
    """What the finished cells measured."""
    found = []
    for contender in matrix.contenders:
        chosen = matrix.chosen(contender, queue.score)
        for cell in matrix.finals(contender, chosen) if chosen is not None else ():
            folder = queue.folder(cell)
            record = folder.record("results.json")
            if record is not None and folder.run is not None:
                names = (contender.name, contender.data, contender.model, contender.rule)
                found.append(Result(folder.run, *names, cell.seed, record, contender.weights))
    return found


def _show(matrix: Matrix, options: Namespace) -> None:
    """Every cell with the commands that a person would type."""

    def unknown(cell: Cell) -> float | None:
        return None

    root = options.out / "cells"
    cells = matrix.wanted(unknown)
    for cell in cells:
        path = root / cell.folder
        state = _state(CellFolder(path), cell)
        print(f"# {cell.contender.data}, {cell.contender.name}, seed {cell.seed}: {state}")
        print(shlex.join(["mtlzoo", "fit", *cell.words, f"--trainer.default_root_dir={path}"]))
        if cell.tests:
            run = path / cell.folder.rpartition("-")[0] / "version_0"
            print(shlex.join(["mtlzoo", "test", "-c", str(run / "config.yaml"), "--ckpt_path", "best"]))
    more = len(matrix) - len(cells)
    print(f"# {len(cells)} cells" + (f", and up to {more} with the options that validation chooses." if more else "."))


def _state(folder: CellFolder, cell: Cell) -> str:
    if folder.is_done(tested=cell.tests):
        return "done"
    return "failed" if folder.failure else "to be run"


def _prepare(matrix: Matrix) -> None:
    """Prepares every data set, so that what is missing is known before the first run."""
    seen = set()
    for contender in matrix.contenders:
        if contender.data not in seen:
            seen.add(contender.data)
            words = [o.word for o in contender.options if o.name.partition(".")[0] in ("data", "config")]
            data_of([shipped(word) for word in words], prog="mtlzoo compare").prepare_data()


def _needed(options: Namespace) -> None:
    missing = [name for name in ("file", "out") if options[name] is None]
    if missing:
        raise ValueError(f"mtlzoo compare FILE --out DIR: {' and '.join(missing).upper()} missing.")
    if options.jobs < 1 or options.keep_rows < 0:
        raise ValueError(f"--jobs {options.jobs}, --keep_rows {options.keep_rows}; allowed are >= 1 and >= 0.")


def _parser() -> Parser:
    parser = Parser(
        prog="mtlzoo compare",
        description="Trains and tests every cell of a matrix once, by any number of processes on the same folder, and "
        "writes a leaderboard and a page (docs/compare.md).",
    )
    parser.add_argument("file", type=Path | None, nargs="?", help="The comparison: data, models, rules, seeds.")
    parser.add_argument("--out", type=Path | None, help="Folder of the cells, the leaderboard and the page.")
    parser.add_argument("--jobs", type=int, default=1, help="Cells at a time, which share the cores.")
    parser.add_argument("--dry_run", type=bool, default=False, help="Only print the cells and their commands.")
    parser.add_argument("--retry", type=bool, default=False, help="Run cells again that failed before.")
    parser.add_argument(
        "--keep_rows", type=int, default=KEEP_ROWS, help="Rows of test up to which outputs are kept for statistics."
    )
    parser.add_argument("--cell", type=Path | None, help="Run this one cell; what the command starts for each.")
    parser.add_argument("--claim", type=int | None, help="With --cell: the open file that holds its claim.")
    parser.add_argument("--test", type=bool, default=True, help="With --cell: test it, too.")
    return parser
