"""Every comparison with the baseline as a sentence."""

from mtlzoo.compare.page.board import MEAN, Board, Row
from mtlzoo.compare.page.gains import SHOWN
from mtlzoo.compare.page.parts import Cell, Column, Panel, Section, Table
from mtlzoo.compare.page.text import NONE, interval, number, probability, signed

MOST = 1500
"""Lines above which those that show no difference are counted, not listed."""
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
    rows = [row for name, task in pairs if (row := board.row(name, task)) is not None]
    shown = [row for row in rows if row["p_holm"] is not None and row["p_holm"] < SHOWN] if len(rows) > MOST else rows
    others = len(rows) - len(shown)
    if not rows:
        return None
    note = f"{others} lines that show no difference to the baseline are left out here; leaderboard.csv has them."
    table = Table(f"{board.data}: in words", COLUMNS, [line(row) for row in shown])
    return Panel(tables={"": table}, notes=[note] * bool(others))


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
