"""The table of all contenders: a column per task, an interval under every number."""

from collections.abc import Mapping

from mtlzoo.compare.leaderboard.family import MEAN, SIGNIFICANT
from mtlzoo.compare.leaderboard.rows import Row
from mtlzoo.compare.page.board import Board
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


def table(board: Board, metrics: Mapping[str, str]) -> Table:
    """Contenders by tasks.

    Args:
        board: Of a data set.
        metrics: By task, the one that its column shows; of the mean, the one that rank and gain are of.
    """
    tasks = [task for task in board.tasks if task in metrics]
    tasks = [MEAN, *tasks] if len(tasks) > 1 and metrics.get(MEAN) in board.metrics else tasks
    up = {(row["task"], row["metric"]): row["higher_is_better"] for row in board.rows}
    heads = [Column(f"{task} ({metrics[task]})", "down" if up[task, metrics[task]] else "up") for task in tasks]
    rows = []
    for name, found in board.by_name.items():
        cells = [value(found.get((task, metrics[task]))) for task in tasks]
        seeds = max(int(row["seeds"] or 0) for row in found.values())
        kind = ("baseline",) if name == board.baseline else ("static weights",) if name in board.frontier else ()
        overall = found.get((MEAN, metrics.get(MEAN, "")))
        rows.append([Cell(name, name, kind), *_overall(overall), *cells, Cell(str(seeds), seeds)])
    fixed = [Column("Contender"), Column("Rank"), Column("Δm, %", "down")]
    return Table(f"{board.data}: test metrics", [*fixed, *heads, Column("Seeds", "down")], rows)


def _overall(row: Row | None) -> list[Cell]:
    """Average rank, and gain with its interval."""
    if row is None:
        return [Cell(NONE), Cell(NONE)]
    ends = interval(row["delta_m_low"], row["delta_m_high"], 2)
    gain = Cell(signed(row["delta_m"], 2), row["delta_m"], (ends,) if ends else ())
    return [Cell(number(row["rank"], 2), row["rank"]), gain]


def value(row: Row | None) -> Cell:
    """A number with its interval and its difference to the baseline; bold where no other is better."""
    if row is None or row["value"] is None:
        return Cell(NONE)
    lines = [interval(row["low"], row["high"])]
    mood = ""
    if row["difference"] is not None:
        shown = row["p_holm"] is not None and row["p_holm"] < SIGNIFICANT
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
    "Every number is the mean over the seeds with its 95 % interval below, then the difference to the baseline and its "
    "p after Holm's adjustment. Bold: those that may be the best; the best is one of them with a chance of 95 %, "
    "column by column, and nothing is bold of a single seed. ▲ and ▼: shown to be better or worse than the baseline "
    "(p < .05). Click on a head to sort.",
    draw,
)
