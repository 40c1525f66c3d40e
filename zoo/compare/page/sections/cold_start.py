"""How users and items are served that train has few rows of."""

from typing import Any

from mtlzoo.compare.page.board import Board
from mtlzoo.compare.page.measured import over_seeds
from mtlzoo.compare.page.parts import Chart, Panel, Section
from mtlzoo.compare.page.vega import lines

MOST = 8
"""Tasks with a picture."""
KEYS = ("side", "bucket", "task", "metric")


def draw(board: Board) -> Panel | None:
    """A picture per task for users, and one for items."""
    values: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    buckets: dict[str, None] = {}
    for name in board.drawn:
        found = over_seeds(board.cells[name], "cold_start.csv", KEYS)
        for row in () if found is None else found.iter_rows(named=True):
            buckets[str(row["bucket"])] = None
            if row["value"] is not None:
                line = {"name": name, "x": str(row["bucket"]), "value": row["value"]}
                values.setdefault((row["side"], row["task"], row["metric"]), []).append(line)
    if not values:
        return None
    tasks = list(dict.fromkeys(task for _, task, _ in values))
    charts = [_chart(board, list(buckets), place, part) for place, part in values.items() if place[1] in tasks[:MOST]]
    left = f"Drawn are the first {MOST} of {len(tasks)} tasks; cold_start.csv of the cells has the others."
    return Panel(charts, notes=[*board.left_out(), *[left] * (len(tasks) > MOST)], legend=board.looks)


def _chart(board: Board, buckets: list[str], place: tuple[str, str, str], values: list[dict[str, Any]]) -> Chart:
    side, task, metric = place
    x = {"type": "ordinal", "sort": buckets, "title": f"rows of the {side} in train", "axis": {"labelAngle": 0}}
    spec = lines(values, board.looks, x, {"title": None})
    return Chart(f"{task}: {metric}, by {side}", spec, f"{metric} of {task} by the rows that train has of the {side}.")


SECTION = Section(
    "cold-start",
    "Cold start",
    "Cold start",
    "The metric on test rows of users (or items) by how many rows of them train has: what falls to the left serves "
    "newcomers badly.",
    draw,
)
