"""The work of ``mtlzoo compare``: cells are checked, run, read, compared and shown."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jsonargparse import Namespace

from mtlzoo.callbacks.atomic import whole_file
from mtlzoo.cli.cell_check import CellCheck
from mtlzoo.cli.prepare import data_of
from mtlzoo.cli.shipped import shipped
from mtlzoo.compare.cells import CellFolder
from mtlzoo.compare.cluster import Cluster
from mtlzoo.compare.comparison import Comparison
from mtlzoo.compare.file import read_comparison
from mtlzoo.compare.leaderboard import Leaderboard, leaderboard, show, write, write_cells
from mtlzoo.compare.matrix import Cell, Matrix
from mtlzoo.compare.options import Option
from mtlzoo.compare.page import boards, png, tradeoff, write_page
from mtlzoo.compare.progress import Report
from mtlzoo.compare.queue import Local, Queue
from mtlzoo.compare.results import Result
from mtlzoo.compare.wandb_board import log_leaderboard
from mtlzoo.compare.wandb_sweep import start_sweep, sweep_of
from mtlzoo.console import wide_console

SEPARATORS = re.compile(r"[^\w.-]+")
"""What names of files are not made of."""


def compare(options: Namespace) -> None:
    """Runs all cells of a file and writes what they came to.

    Args:
        options: Of the command.

    Raises:
        WrongFileError: A cell can't work; with the line of the file.
        SystemExit: Cells failed.
    """
    comparison = _logged(read_comparison(options.file), options)
    matrix = Matrix(comparison, CellCheck(options.file))
    if options.dry_run:
        _show(matrix, options)
        return
    root = (options.out / "cells").resolve()
    root.mkdir(parents=True, exist_ok=True)
    _prepare(matrix)
    if options.sweep:
        _sweep(matrix, root, options)
        return
    place = Cluster(options.cpus, options.gpus) if options.on == "ray" else Local(options.jobs)
    with Report(wide_console(), len(matrix), place.jobs) as report:
        queue = Queue(matrix, root, place, report, retry=options.retry)
        queue.run()
    failed = [f"{cell.contender.data}, {cell.contender.name}, seed {cell.seed}" for cell in report.failed]
    _write(matrix, results(matrix, queue), failed, options)
    if failed:
        raise SystemExit(1)


def _write(matrix: Matrix, found: Sequence[Result], failed: Sequence[str], options: Namespace) -> None:
    """The leaderboard, the page and, if asked, the W&B run of both."""
    if not found:
        print(f"No cell was tested; {len(failed)} failed.")
        return
    base = matrix.comparison.baseline
    board = leaderboard(found, None if base is None else base.name, apart=options.apart)
    show(board)
    write(board, options.out)
    write_cells(found, options.out)
    page = options.out / "compare.html"
    notes = [f"Failed: {cell}." for cell in failed]
    write_page(page, board, found, asked=options.file.read_text(), notes=notes, title=options.file.stem)
    print(f"Leaderboard: {options.out / 'leaderboard.md'}\nPage: {page}")
    if options.wandb:
        pictures = _pictures(board, found, options.out)
        log_leaderboard(options.wandb, options.entity, options.file.stem, board.rows, page, pictures)


def _logged(comparison: Comparison, options: Namespace) -> Comparison:
    """With a W&B run per cell, in one group, if asked."""
    if not options.wandb:
        return comparison
    said = {"project": options.wandb, "group": options.file.stem, "entity": options.entity}
    more = [Option(f"trainer.logger.{name}", value) for name, value in said.items() if value is not None]
    return replace(comparison, common=(*comparison.common, Option("trainer.logger+", "WandbLogger"), *more))


def _sweep(matrix: Matrix, root: Path, options: Namespace) -> None:
    """Hands the cells that are not done to W&B's agents."""
    left = []
    for cell in matrix.wanted(lambda cell: CellFolder(root / cell.folder).score):
        folder = CellFolder(root / cell.folder)
        if not folder.is_done(tested=cell.tests):
            folder.write(cell.words)
            left.append(folder.path)
    sweep = start_sweep(sweep_of(left, options.file.stem), options.wandb, options.entity)
    print(f"{len(left)} cells: wandb agent {sweep}\nWhen they are done, run this command without --sweep.")


def _pictures(board: Leaderboard, found: Sequence[Result], out: Path) -> dict[str, Path]:
    """The trade-off of every data set, as files."""
    pictures = {}
    for shown in boards(board, found, out):
        chart = tradeoff(shown)
        if chart is not None:
            path = out / f"tradeoff-{SEPARATORS.sub('_', shown.data)}.png"
            with whole_file(path) as file:
                file.write(png(chart.spec))
            pictures[f"tradeoff/{shown.data}"] = path
    return pictures


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
