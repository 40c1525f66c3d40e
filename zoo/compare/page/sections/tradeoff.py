"""What is gained on one task against what is gained on another, the baseline in the middle."""

import json
from collections.abc import Sequence

from mtlzoo.compare.page.board import Board
from mtlzoo.compare.page.gains import Point, points, seesaws
from mtlzoo.compare.page.look import Look
from mtlzoo.compare.page.parts import Chart, Panel, Section, Spec
from mtlzoo.compare.page.text import listed
from mtlzoo.compare.page.vega import by_look, picture

MOST = 60
"""Points beside those of the frontier."""


def draw(board: Board) -> Panel | None:
    """A picture of two tasks at a time, and who seesaws."""
    chart = tradeoff(board)
    if chart is None:
        return None
    names = [name for name in board.by_name if name not in board.frontier]
    grey = [name for name in names[:MOST] if name not in board.drawn]
    notes = [*seesaws(board), *(f"{words}." for words in board.verdicts[:MOST])]
    notes += [f"Grey: {listed(grey)}."] if grey else []
    notes += [f"Drawn are the {MOST} best by rank; {len(names) - MOST} more are in the table."] * (len(names) > MOST)
    return Panel([chart], notes=notes, legend=board.looks)


def tradeoff(board: Board) -> Chart | None:
    """The picture alone; None where there is no baseline or a single task."""
    every = points(board)
    if board.baseline is None or len(board.tasks) < 2 or not every:
        return None
    kept = {*board.frontier, *[point["name"] for point in every if point["kind"] != "frontier"][:MOST], *board.drawn}
    says = f"Gains over {board.baseline} on two of the tasks {listed(list(board.tasks))}; the numbers are in the table."
    spec = _spec(board.tasks, [point for point in every if point["name"] in kept], board.looks)
    return Chart(f"Gain over {board.baseline}", spec, says, wide=True)


def _spec(tasks: Sequence[str], shown: Sequence[Point], looks: dict[str, Look]) -> Spec:
    """Points with their intervals, the frontier as a line, and a chooser of the tasks where there are more than two."""
    places = {"x": "g[across]", "y": "g[up]", "x0": "lo[across]", "x1": "hi[across]", "y0": "lo[up]", "y1": "hi[up]"}
    found = [{"calculate": f"datum.{path}", "as": field} for field, path in places.items()]
    names = json.dumps(list(tasks))
    title: Spec = {"text": {"expr": f"['↑ gain on ' + {names}[up], '→ gain on ' + {names}[across]]"}, "anchor": "start"}
    title |= {"color": "var(--ink)", "fontSize": 13, "fontWeight": "normal"}
    layers = [*_cross(), *_frontier(shown), *_others(shown), *_drawn(looks)]
    return picture(shown, *layers, height=420, params=_choosers(tasks), transform=found, title=title)


def _choosers(tasks: Sequence[str]) -> list[Spec]:
    params: list[Spec] = [{"name": "across", "value": 0}, {"name": "up", "value": 1}]
    if len(tasks) > 2:
        for param, label in zip(params, ("Across: ", "Up: "), strict=True):
            options = {"options": list(range(len(tasks))), "labels": list(tasks)}
            param["bind"] = {"input": "select", "name": label, **options}
    return params


def _axis(field: str) -> Spec:
    axis = {"title": None, "format": "+.3~f"}
    return {"field": field, "type": "quantitative", "scale": {"zero": True, "nice": True}, "axis": axis}


def _cross() -> list[Spec]:
    mark = {"type": "rule", "strokeDash": [3, 3]}
    return [{"mark": mark, "encoding": {channel: {"datum": 0, "type": "quantitative"}}} for channel in ("x", "y")]


def _dots(kind: str, *, filled: bool, size: int, **looks: Spec) -> Spec:
    tooltip = [{"field": "name", "title": "contender"}]
    tooltip += [{"field": f, "title": t, "format": "+.4f"} for f, t in (("x", "gain across"), ("y", "gain up"))]
    return {
        "transform": [{"filter": f"datum.kind == '{kind}'"}],
        "mark": {"type": "point", "filled": filled, "size": size, "color": "var(--quiet)"},
        "encoding": {"x": _axis("x"), "y": _axis("y"), "tooltip": tooltip, **looks},
    }


def _frontier(shown: Sequence[Point]) -> list[Spec]:
    """A line with rings per model; nothing where there is no frontier, as a layer without points has no scale."""
    line = [point for point in shown if point["kind"] == "frontier"]
    if not line:
        return []
    colour = {"field": "colour", "type": "nominal", "scale": None}
    order = {"order": {"field": "share", "type": "quantitative"}, "detail": {"field": "model"}, "color": colour}
    path = {
        "transform": [{"filter": "datum.kind == 'frontier' && datum.line"}],
        "mark": {"type": "line", "strokeWidth": 1.5, "opacity": 0.7},
        "encoding": {"x": _axis("x"), "y": _axis("y"), **order},
    }
    rings = _dots("frontier", filled=False, size=50, color=colour)
    return [path, rings] if any(point["line"] for point in line) else [rings]


def _others(shown: Sequence[Point]) -> list[Spec]:
    some = any(point["kind"] == "other" for point in shown)
    return [_dots("other", filled=True, size=25)] if some else []


def _drawn(looks: dict[str, Look]) -> list[Spec]:
    """Intervals to both sides, and points over them."""
    colour, shape = by_look("name", looks, "colour"), by_look("name", looks, "shape")
    only, mark = [{"filter": "datum.kind == 'drawn'"}], {"type": "rule", "opacity": 0.5}
    flat: Spec = {"x": _axis("x0"), "x2": {"field": "x1"}, "y": _axis("y"), "color": colour}
    steep: Spec = {"x": _axis("x"), "y": _axis("y0"), "y2": {"field": "y1"}, "color": colour}
    bars: list[Spec] = [{"transform": only, "mark": mark, "encoding": encoding} for encoding in (flat, steep)]
    return [*bars, _dots("drawn", filled=True, size=130, color=colour, shape=shape)]


SECTION = Section(
    "tradeoff",
    "Trade-off between tasks",
    "Trade-off",
    "Right and up of the dashed cross is better than the baseline on both tasks; right and down, or left and up, is a "
    "seesaw. Bars are 95 % intervals. A line of rings is a model under static weights of the tasks, the scalarisation "
    "frontier: what lies below or left of it could have been had by choosing weights.",
    draw,
)
