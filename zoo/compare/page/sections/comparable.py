"""Whether tasks help where a user gives them comparable feedback: what ``mtlzoo compare-samples`` found."""

from typing import Any

from mtlzoo.compare.page.board import Board
from mtlzoo.compare.page.look import Look, looks
from mtlzoo.compare.page.measured import read
from mtlzoo.compare.page.parts import Chart, Panel, Section
from mtlzoo.compare.page.vega import BAR, by_look, picture

FOLDER = "comparable_samples"
"""Beside the page; in it a folder per data set, which is what ``--out`` of the command was."""


def draw(board: Board) -> Panel | None:
    """A picture per task of the AUC above single task in every bin."""
    found = read(board.folder / FOLDER / board.data, "transfer.csv")
    if found is None:
        return None
    rows = [row for row in found.iter_rows(named=True) if row["metric"] == "auc" and row["transfer"] is not None]
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    style = looks([(model, model, model) for model in models])
    tasks = dict.fromkeys(str(row["task"]) for row in rows)
    charts = [_chart(task, [row for row in rows if row["task"] == task], style) for task in tasks]
    return Panel(charts, legend=style)


def _chart(task: str, rows: list[dict[str, Any]], style: dict[str, Look]) -> Chart:
    values = [
        {"name": row["model"], "y": row["bin"]} | {k: row[k] for k in ("transfer", "low", "high")} for row in rows
    ]
    x = {"field": "transfer", "type": "quantitative", "title": "AUC above single task"}
    up = {
        "y": {"field": "y", "type": "nominal", "sort": None, "axis": {"title": None, "grid": True}},
        "yOffset": {"field": "name", "type": "nominal"},
        "color": by_look("name", style, "colour"),
    }
    tooltip = [{"field": "name", "title": "model"}, {"field": "y", "title": "bin"}]
    tooltip += [{"field": field, "format": "+.4f"} for field in ("transfer", "low", "high")]
    bars = {"mark": "rule", "encoding": {"x": x | {"field": "low"}, "x2": {"field": "high"}, **up}}
    shape = by_look("name", style, "shape")
    dots = {"mark": {"type": "point", "filled": True, "size": 50}, "encoding": {"x": x, **up, "shape": shape}}
    dots["encoding"]["tooltip"] = tooltip
    zero = {"mark": {"type": "rule", "strokeDash": [3, 3]}, "encoding": {"x": {"datum": 0, "type": "quantitative"}}}
    height = max(BAR, 9 * len(style)) * len({row["bin"] for row in rows}) + 60
    return Chart(task, picture(values, zero, bars, dots, height=height), f"AUC of {task} above single task, by bin.")


SECTION = Section(
    "comparable",
    "Comparable samples",
    "Samples",
    "AUC above single task on the rows of users whose feedback on the tasks is comparable, and of those who favour "
    "one. Bars are 95 % intervals over users. By mtlzoo compare-samples.",
    draw,
)
