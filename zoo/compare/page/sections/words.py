"""Every comparison with the baseline as a sentence."""

from mtlzoo.compare.leaderboard.family import MEAN
from mtlzoo.compare.leaderboard.rows import Row
from mtlzoo.compare.page.board import Board
from mtlzoo.compare.page.parts import Cell, Column, Panel, Section, Table
from mtlzoo.compare.page.text import NONE, interval, number, probability, signed

MOST = 1500
"""Lines; of more, those with the smallest p."""
COLUMNS = (
    Column("Contender"),
    Column("Task"),
    Column("Value", "down"),
    Column("To the baseline", "down"),
    Column("p (Holm)"),
    Column("To the best", "down"),
    Column("RelaImpr, %", "down"),
    Column("Seeds for .001"),
    Column("In words"),
)


def draw(board: Board) -> Panel | None:
    """A line per contender and task, by the metric that the task is judged by."""
    pairs = [(name, task) for name in board.by_name for task in (*board.tasks, MEAN) if task in board.main]
    rows = [row for name, task in pairs if (row := board.row(name, task)) is not None and row["value"] is not None]
    if not rows:
        return None
    limit = sorted(_p(row) for row in rows)[MOST - 1] if len(rows) > MOST else 1.0
    shown = [row for row in rows if _p(row) <= limit][:MOST]
    note = f"Listed are the {MOST:,} lines of {len(rows):,} with the smallest p; leaderboard.csv has all."
    table = Table(f"{board.data}: in words", COLUMNS, [line(row) for row in shown])
    return Panel(tables={"": table}, notes=[note] * (len(rows) > MOST))


def _p(row: Row) -> float:
    return 1.0 if row["p_holm"] is None else float(row["p_holm"])


def line(row: Row) -> list[Cell]:
    """A contender on a task."""
    gain, best = row["difference"], row["best_difference"]
    ratio = None if row["relaimpr"] is None else 100 * row["relaimpr"]
    seeds = row["seeds_for_001"]
    return [
        Cell(row["name"], row["name"]),
        Cell(row["task"], row["task"]),
        Cell(number(row["value"]), row["value"], _under(row["low"], row["high"]), bool(row["best"])),
        Cell(signed(gain), gain, _under(row["difference_low"], row["difference_high"])),
        Cell(probability(row["p_holm"]) or NONE, row["p_holm"]),
        Cell(signed(best), best, tuple(filter(None, [probability(row["best_p_holm"])]))),
        Cell(signed(ratio, 2), ratio),
        Cell(NONE if seeds is None else f"{seeds:,}", seeds),
        Cell(row["words"] or NONE, row["words"]),
    ]


def _under(low: float | None, high: float | None) -> tuple[str, ...]:
    return tuple(filter(None, [interval(low, high)]))


SECTION = Section(
    "words",
    "The same in words",
    "Words",
    "A line per contender and task. “No difference shown” means that these seeds don't tell; “Seeds for .001” is how "
    "many would, if the difference were .001.",
    draw,
)
