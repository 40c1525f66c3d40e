"""Which experts the tasks' gates choose, and which experts nobody does."""

from typing import Any

import polars as pl

from mtlzoo.callbacks.gates.facts import DEAD
from mtlzoo.compare.page.board import Board
from mtlzoo.compare.page.look import Look, looks
from mtlzoo.compare.page.measured import over_seeds
from mtlzoo.compare.page.parts import Chart, Panel, Section
from mtlzoo.compare.page.text import listed
from mtlzoo.compare.page.vega import heat, lines

MOST = 12
"""Layers, over all contenders, with pictures."""


def draw(board: Board) -> Panel | None:
    """Two pictures per contender and layer: weights at the end, and entropies over training."""
    charts: list[Chart] = []
    notes: list[str] = []
    layers = 0
    for name in board.drawn:
        found = over_seeds(board.cells[name], "gates.csv", ["step", "layer", "task", "expert"])
        if found is None:
            continue
        found = found.with_columns(pl.col("expert").cast(pl.String))
        for layer in found["layer"].unique(maintain_order=True):
            part = found.filter(pl.col("layer") == layer)
            last = part.filter(pl.col("step") == pl.col("step").max().over("task"))
            notes += dead(name, str(layer), last)
            layers += 1
            if layers <= MOST:
                charts += [_weights(f"{name}, {layer}", last), _entropies(board, f"{name}, {layer}", part)]
    left = f"Drawn are the first {MOST} of {layers} layers."
    return Panel(charts, notes=[*notes, *[left] * (layers > MOST)], legend=_looks(board)) if charts else None


def dead(name: str, layer: str, last: pl.DataFrame) -> list[str]:
    """Sentences on the experts of a layer that no gate weighs at the end of training."""
    share = pl.col("weight") * pl.len().over("task")
    most = last.with_columns(share=share).group_by("expert", maintain_order=True).agg(pl.col("share").max())
    experts = [str(expert) for expert in most.filter(pl.col("share") < DEAD)["expert"]]
    if not experts:
        return [f"{name}, {layer}: every expert is used by some task."]
    what = f"expert {experts[0]} is dead" if len(experts) == 1 else f"experts {listed(experts)} are dead"
    return [f"{name}, {layer}: {what}: every gate gives less than {DEAD:.0%} of an equal share."]


def _weights(title: str, last: pl.DataFrame) -> Chart:
    values: list[dict[str, Any]] = [
        {"x": row["expert"], "y": row["task"], "value": row["weight"], "entropy": row["entropy"]}
        for row in last.iter_rows(named=True)
    ]
    experts = last["expert"].n_unique()
    x = {"type": "ordinal", "title": "expert", "sort": None, "axis": {"labelAngle": 0, "labelOverlap": True}}
    spec = heat(values, x, rows=last["task"].n_unique(), title="weight", text=experts <= 6)
    return Chart(f"{title}: weights at the end", spec, f"Mean weight that each task's gate gives each expert: {title}.")


def _looks(board: Board) -> dict[str, Look]:
    return looks([(task, task, task) for task in board.tasks])


def _entropies(board: Board, title: str, part: pl.DataFrame) -> Chart:
    every = part.group_by("step", "task", maintain_order=True).agg(pl.col("entropy").mean()).drop_nulls()
    values: list[dict[str, Any]] = [
        {"name": row["task"], "x": row["step"], "value": row["entropy"]} for row in every.iter_rows(named=True)
    ]
    spec = lines(
        values, _looks(board), {"type": "quantitative", "title": "step"}, {"title": None, "scale": {"domain": [0, 1]}}
    )
    return Chart(f"{title}: entropy", spec, f"Entropy of each task's gate over training: {title}.")


SECTION = Section(
    "gates",
    "Gates and experts",
    "Gates",
    "Weights: how much each task gives each expert at the end of training, averaged over rows and seeds. Entropy: that "
    "of the gates over training, a line per task; 1 uses all experts alike, 0 a single one.",
    draw,
)
