"""Whether probabilities are what they say."""

import math
from typing import Any

from mtlzoo.compare.page.board import Board
from mtlzoo.compare.page.parts import Cell, Chart, Column, Panel, Section, Table
from mtlzoo.compare.page.text import number
from mtlzoo.compare.page.vega import BAR, by_look, picture


def draw(board: Board) -> Panel | None:
    """A picture of the ratios, and a table of ratios and errors."""
    every = {(name, task): _means(board, name, task) for name in board.cells for task in board.tasks}
    found = {place: pair for place, pair in every.items() if not math.isnan(pair[0])}
    if not found:
        return None
    tasks = [task for task in board.tasks if any(of == task for _, of in found)]
    names = list(dict.fromkeys(name for name, _ in found))
    rows = [
        [Cell(name, name), *(_cell(found.get((name, task), (math.nan, math.nan))) for task in tasks)] for name in names
    ]
    table = Table(f"{board.data}: calibration", [Column("Contender"), *(Column(task) for task in tasks)], rows)
    return Panel([_ratios(board, found, tasks)], {"": table}, board.left_out(), board.looks)


def _means(board: Board, name: str, task: str) -> tuple[float, float]:
    """Calibration and ECE on test, averaged over seeds; NaN where no seed has them."""
    pairs = [
        (cell.metrics[f"test/{task}/calibration"], cell.metrics.get(f"test/{task}/ece", math.nan))
        for cell in board.cells[name]
        if f"test/{task}/calibration" in cell.metrics
    ]
    if not pairs:
        return math.nan, math.nan
    return sum(ratio for ratio, _ in pairs) / len(pairs), sum(error for _, error in pairs) / len(pairs)


def _cell(pair: tuple[float, float]) -> Cell:
    ratio, error = pair
    if math.isnan(ratio) or ratio <= 0:
        return Cell(number(ratio, 3))
    return Cell(number(ratio, 3), abs(math.log(ratio)), (f"ECE {number(error)}",))


def _ratios(board: Board, found: dict[tuple[str, str], tuple[float, float]], tasks: list[str]) -> Chart:
    values: list[dict[str, Any]] = [
        {"name": name, "x": ratio, "y": task, "ece": error}
        for (name, task), (ratio, error) in found.items()
        if name in board.drawn
    ]
    style = board.looks
    axis = {"field": "x", "type": "quantitative", "title": "predicted / observed", "scale": {"zero": False}}
    tooltip = [{"field": "name", "title": "contender"}, {"field": "y", "title": "task"}]
    tooltip += [
        {"field": "x", "title": "calibration", "format": ".3f"},
        {"field": "ece", "title": "ECE", "format": ".4f"},
    ]
    encoding = {
        "x": axis,
        "y": {"field": "y", "type": "nominal", "sort": None, "axis": {"title": None, "grid": True}},
        "yOffset": {"field": "name", "type": "nominal", "sort": list(style)},
        "color": by_look("name", style, "colour"),
        "shape": by_look("name", style, "shape"),
        "tooltip": tooltip,
    }
    one = {"x": {"datum": 1, "type": "quantitative"}}
    layers = ({"mark": {"type": "rule", "strokeDash": [3, 3]}, "encoding": one},)
    dots = {"mark": {"type": "point", "filled": True, "size": 80}, "encoding": encoding}
    spec = picture(values, *layers, dots, height=max(BAR, 7 * len(style)) * len(tasks) + 60)
    return Chart(
        "Predicted over observed", spec, "Ratio of predicted to observed positives on test, by task.", wide=True
    )


SECTION = Section(
    "calibration",
    "Calibration",
    "Calibration",
    "Predicted positives over observed ones on test: 1 is right, above it too many are predicted. ECE is the mean "
    "distance of probabilities from what happened. The tables sort by distance from 1.",
    draw,
)
