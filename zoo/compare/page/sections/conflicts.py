"""How far the tasks' gradients agree while a contender trains."""

from typing import Any

import polars as pl

from mtlzoo.compare.page.board import Board
from mtlzoo.compare.page.measured import over_seeds
from mtlzoo.compare.page.parts import Chart, Panel, Section
from mtlzoo.compare.page.text import number
from mtlzoo.compare.page.vega import heat

STRETCHES = 24
"""Of training, each a column."""
MOST = 15
"""Pairs of tasks with a line."""


def draw(board: Board) -> Panel | None:
    """A heat map per contender: pairs of tasks by steps."""
    charts, notes = [], []
    for name in board.drawn:
        found = over_seeds(board.cells[name], "conflicts.csv", ["step", "task_a", "task_b"])
        if found is None:
            continue
        found = found.with_columns(pair=pl.col("task_a") + " · " + pl.col("task_b")).drop_nulls("cosine")
        pairs = found.group_by("pair", maintain_order=True).agg(pl.col("cosine").mean()).sort("cosine")
        chart, worst = _map(name, found, pairs["pair"].head(MOST).to_list()), pairs.row(0)
        charts.append(chart)
        notes.append(f"{name}: the pair that agrees least is {worst[0]}, with a mean cosine of {number(worst[1], 2)}.")
        if len(pairs) > MOST:
            notes.append(f"{name}: drawn are the {MOST} pairs that agree least, of {len(pairs)}.")
    return Panel(charts, notes=[*notes, *board.left_out()]) if charts else None


def _map(name: str, found: pl.DataFrame, pairs: list[str]) -> Chart:
    end = int(str(found["step"].max())) + 1
    length = max(1, -(-end // min(STRETCHES, found["step"].n_unique())))
    shown = (
        found.filter(pl.col("pair").is_in(pairs))
        .group_by("pair", pl.col("step") // length * length, maintain_order=True)
        .agg(pl.col("cosine").mean(), pl.col("conflict_rate").mean())
    )
    values: list[dict[str, Any]] = [
        {"x": row["step"], "x2": row["step"] + length, "y": row["pair"], "value": row["cosine"]}
        | {"conflict rate": row["conflict_rate"]}
        for row in shown.iter_rows(named=True)
    ]
    x = {"type": "quantitative", "title": "step", "scale": {"nice": False, "domain": [0, end]}}
    spec = heat(values, x, rows=len(pairs), title="cosine")
    return Chart(name, spec, f"Cosines between the tasks' gradients of {name} by step.")


SECTION = Section(
    "conflicts",
    "Conflicts between tasks",
    "Conflicts",
    "Cosine between the gradients of two tasks over training, averaged over seeds and stretches of steps: blue agrees, "
    "orange conflicts, pale is neither. The pair that agrees least is on top where there are many.",
    draw,
)
