"""The table of all contenders: a column per task, an interval under every number."""

from mtlzoo.compare.page.board import MEAN, Board, Row
from mtlzoo.compare.page.gains import SHOWN
from mtlzoo.compare.page.parts import Cell, Column, Panel, Section, Table
from mtlzoo.compare.page.text import NONE, interval, number, probability, signed

MOST = 200
"""Contenders above which only the main metrics get a table."""


def draw(board: Board) -> Panel | None:
    """A table of the main metrics, and one of each other metric."""
    if not board.by_name:
        return None
    tables = {"main metrics": table(board, board.main)}
    others = [metric for metric in board.metrics if metric not in board.main.values()]
    few = len(board.by_name) <= MOST
    for metric in others if few else ():
        tasks = [
            task for task in (*board.tasks, MEAN) if any((task, metric) in rows for rows in board.by_name.values())
        ]
        tables[metric] = table(board, dict.fromkeys(tasks, metric))
    left = f"{', '.join(others)}: in leaderboard.csv, as more than {MOST} contenders are compared."
    return Panel(tables=tables, notes=[left] * (bool(others) and not few))


def table(board: Board, metrics: dict[str, str]) -> Table:
    """Contenders by tasks.

    Args:
        board: Of a data set.
        metrics: By task, the one that its column shows.
    """
    tasks = [MEAN, *board.tasks] if MEAN in metrics else list(board.tasks)
    tasks = [task for task in tasks if task in metrics]
    up = {(row["task"], row["metric"]): row["higher_is_better"] for row in board.rows}
    heads = [Column(f"{task} ({metrics[task]})", "down" if up[task, metrics[task]] else "up") for task in tasks]
    fixed = [Column("Contender"), Column("Rank"), Column("Δm, %", "down")]
    rows = []
    for name, found in board.by_name.items():
        rank, gain = board.overall(name, "rank"), board.overall(name, "delta_m")
        cells = [Cell(number(rank, 2), rank), Cell(signed(gain, 2), gain)]
        cells += [value(found.get((task, metrics[task]))) for task in tasks]
        seeds = max(int(row["seeds"]) for row in found.values())
        base = ("baseline",) if name == board.baseline else ("static weights",) if name in board.frontier else ()
        rows.append([Cell(name, name, base), *cells, Cell(str(seeds), seeds)])
    return Table(f"{board.data}: test metrics", [*fixed, *heads, Column("Seeds", "down")], rows)


def value(row: Row | None) -> Cell:
    """A number with its interval and its difference to the baseline; bold where no other is better."""
    if row is None or row["value"] is None:
        return Cell(NONE)
    lines = [interval(row["low"], row["high"])]
    mood = ""
    if row["difference"] is not None:
        shown = row["p_holm"] is not None and row["p_holm"] < SHOWN
        better = (row["difference"] > 0) == row["higher_is_better"]
        mood = ("good" if better else "bad") if shown else ""
        mark = {"good": "▲ ", "bad": "▼ ", "": ""}[mood]
        lines.append(", ".join(filter(None, [mark + signed(row["difference"]), probability(row["p_holm"])])))
    if row["negative_transfer"]:
        mood = "bad"
        lines.append("negative transfer")
    return Cell(number(row["value"]), row["value"], tuple(filter(None, lines)), bool(row["best"]), mood)


SECTION = Section(
    "headline",
    "Who is better",
    "Table",
    "Every number is the mean over the seeds, with its 95 % interval below, then the difference to the baseline and "
    "its p after Holm's correction. Bold is every number that the data don't show to be worse than the best, so "
    "several can be bold. ▲ and ▼: a difference is shown (p < .05). Click on a head to sort.",
    draw,
)
