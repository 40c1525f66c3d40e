"""What contenders gain over the baseline, task by task, with the sign that makes more better."""

from typing import Any, TypeAlias

from mtlzoo.compare.leaderboard.family import SIGNIFICANT
from mtlzoo.compare.page.board import Board
from mtlzoo.compare.page.text import listed

Point: TypeAlias = dict[str, Any]
"""A contender: ``name``; ``kind`` (``drawn``, ``other`` or ``frontier``); and lists of a number per task, ``g`` (gain),
``lo`` and ``hi`` (95 % interval). Of the frontier also ``model``, ``share`` (its first weight), ``line`` (whether it is
of two weights, so that its points are in a row) and ``colour`` (that of its model)."""
MOST = 10
"""Sentences."""


def points(board: Board) -> list[Point]:
    """Contenders with a difference on every task, and the baseline at 0: the frontier first, in its order."""
    found = [point for name in board.by_name if (point := _point(board, name)) is not None]
    line = [point for point in found if point["kind"] == "frontier"]
    return [*sorted(line, key=lambda point: float(point["share"])), *(p for p in found if p["kind"] != "frontier")]


def _point(board: Board, name: str) -> Point | None:
    point: Point = {"name": name, "kind": "drawn" if name in board.drawn else "other", "g": [], "lo": [], "hi": []}
    for task in board.tasks:
        row = board.row(name, task)
        if row is None or (row["difference"] is None and name != board.baseline):
            return None
        sign = 1 if row["higher_is_better"] else -1
        middle = sign * (row["difference"] or 0.0)
        ends = [middle if row[end] is None else sign * row[end] for end in ("difference_low", "difference_high")]
        point["g"].append(middle)
        point["lo"].append(min(ends))
        point["hi"].append(max(ends))
    if name in board.frontier:
        cell = board.cells[name][0]
        weights = cell.weights or {}
        look = board.looks.get(cell.model)
        point |= {"kind": "frontier", "share": next(iter(weights.values())), "model": cell.model}
        point |= {"line": len(weights) == 2, "colour": "var(--quiet)" if look is None else look.colour}
    return point


def seesaws(board: Board) -> list[str]:
    """Sentences on who gains on one task and loses on another, both shown."""
    found = []
    for name in board.by_name:
        moves = {task: _shown(board, name, task) for task in board.tasks}
        better = [task for task, move in moves.items() if move > 0]
        worse = [task for task, move in moves.items() if move < 0]
        if better and worse:
            found.append(f"{name} seesaws: better on {listed(better)}, worse on {listed(worse)}.")
    if len(found) > MOST:
        found = [*found[:MOST], f"{len(found) - MOST} more seesaw."]
    return found or ["No contender is shown to gain on one task and to lose on another."]


def _shown(board: Board, name: str, task: str) -> int:
    """1 where a contender is shown to be better on a task, -1 where worse, else 0."""
    row = board.row(name, task)
    if row is None or row["p_holm"] is None or row["p_holm"] >= SIGNIFICANT:
        return 0
    return 1 if (row["difference"] > 0) == row["higher_is_better"] else -1
