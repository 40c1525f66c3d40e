"""``mtlzoo compare``: a matrix of trainings, each done once, and what they say side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from jsonargparse import Namespace

from mtlzoo.cli.parser import Parser

KEEP_ROWS = 1_000_000
"""Rows of test up to which the outputs of a cell are kept."""


def run(args: Sequence[str]) -> None:
    """Runs one cell, or checks a file, runs its cells, and writes the leaderboard and the page."""
    options = _parser().parse_args(list(args[1:]))
    if options.cell is not None:
        from mtlzoo.cli.cell import run_cell  # which loads no more than a training needs

        run_cell(options.cell, options.claim, test=options.test, keep_rows=options.keep_rows)
        return
    _needed(options)
    from mtlzoo.cli.compare_matrix import compare

    compare(options)


def _needed(options: Namespace) -> None:
    missing = [word for name, word in (("file", "FILE"), ("out", "--out DIR")) if options[name] is None]
    if missing:
        raise ValueError(f"mtlzoo compare FILE --out DIR: {' and '.join(missing)} missing.")
    if options.wandb is None and (options.sweep or options.entity):
        raise ValueError("--sweep and --entity are of a W&B project; name it, --wandb PROJECT.")
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
    parser.add_argument("--on", type=Literal["here", "ray"], default="here", help="This machine, or a Ray cluster.")
    parser.add_argument("--cpus", type=float, default=1.0, help="With --on ray: cores per cell.")
    parser.add_argument("--gpus", type=float, default=0.0, help="With --on ray: GPUs per cell, or a share of one.")
    parser.add_argument("--dry_run", type=bool, default=False, help="Only print the cells and their commands.")
    parser.add_argument("--retry", type=bool, default=False, help="Run cells again that failed before.")
    parser.add_argument("--wandb", type=str | None, help="W&B project that gets every cell, leaderboard and page.")
    parser.add_argument("--entity", type=str | None, help="With --wandb: team or user; yours unless said.")
    parser.add_argument("--sweep", type=bool, default=False, help="With --wandb: leave the cells to W&B's agents.")
    parser.add_argument(
        "--apart", type=bool, default=False, help="Show runs of other data or versions apart; else they are refused."
    )
    parser.add_argument(
        "--keep_rows", type=int, default=KEEP_ROWS, help="Rows of test up to which outputs are kept for statistics."
    )
    parser.add_argument("--cell", type=Path | None, help="Run this one cell; what the command starts for each.")
    parser.add_argument("--claim", type=int | None, help="With --cell: the open file that holds its claim.")
    parser.add_argument("--test", type=bool, default=True, help="With --cell: test it, too.")
    return parser
