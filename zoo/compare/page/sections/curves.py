"""Learning curves: the validation of every epoch, per task and on average."""

from typing import Any

import polars as pl

from mtlzoo.compare.leaderboard.family import MEAN
from mtlzoo.compare.page.board import Board
from mtlzoo.compare.page.measured import curves
from mtlzoo.compare.page.parts import Chart, Panel, Section
from mtlzoo.compare.page.vega import lines

MOST = 8
"""Tasks with a picture."""

TICKS = 10
"""Epochs up to which each has its tick."""


def draw(board: Board) -> Panel | None:
    """A picture per task, and of the mean."""
    tasks = [task for task in (MEAN, *board.tasks) if board.main.get(task) in board.metrics]
    columns = {_column(task, board.main[task]): task for task in tasks[: MOST + 1]}
    values: dict[str, list[dict[str, Any]]] = {task: [] for task in columns.values()}
    for name in board.drawn:
        for column, found in curves(board.cells[name], list(columns)).items():
            values[columns[column]] += _points(name, found)
    charts = [_chart(board, task, points) for task, points in values.items() if points]
    left = f"Drawn are the first {MOST} of {len(board.tasks)} tasks; metrics.csv of the cells has the others."
    notes = [*board.left_out(), *[left] * (len(tasks) > MOST + 1)]
    return Panel(charts, notes=notes, legend=board.looks) if charts else None


def _column(task: str, metric: str) -> str:
    return f"val/{metric}_mean" if task == MEAN else f"val/{task}/{metric}"


def _points(name: str, found: pl.DataFrame) -> list[dict[str, Any]]:
    return [
        {"name": name, "x": epoch, "value": mean, "low": mean - std, "high": mean + std}
        for epoch, mean, std in found.select("epoch", "mean", "std").iter_rows()
    ]


def _chart(board: Board, task: str, values: list[dict[str, Any]]) -> Chart:
    metric = board.main[task]
    epochs = sorted({point["x"] for point in values})
    axis: dict[str, Any] = {"tickMinStep": 1, "format": "d"}
    if len(epochs) <= TICKS:  # Vega would put one between 0 and 1
        axis["values"] = epochs
    x = {"type": "quantitative", "title": "epoch", "axis": axis}
    spec = lines(values, board.looks, x, {"title": None}, band=True)
    return Chart(f"{task}: {metric} on validation", spec, f"{metric} of {task} on validation by epoch.")


SECTION = Section(
    "curves",
    "Learning curves",
    "Curves",
    "The metric on validation after every epoch, from 0: lines are means over the seeds, bands one standard deviation "
    "to both sides. Where seeds stopped early, the mean is over those that went on.",
    draw,
)
