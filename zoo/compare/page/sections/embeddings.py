"""How embedding tables grow and whether they collapse."""

from typing import Any

import polars as pl

from mtlzoo.compare.page.board import Board
from mtlzoo.compare.page.measured import over_seeds
from mtlzoo.compare.page.parts import Cell, Chart, Column, Panel, Section, Table
from mtlzoo.compare.page.text import number
from mtlzoo.compare.page.vega import lines

MOST = 4
"""Tables with pictures."""
MEASURES = {"norm": "norm", "effective_rank": "effective rank"}
"""With pictures; `collapse` is in the table."""


def draw(board: Board) -> Panel | None:
    """Pictures per table of parameters, and a table of how all ended."""
    found = {
        name: frame
        for name in board.drawn
        if (frame := over_seeds(board.cells[name], "embeddings.csv", ["step", "table"])) is not None
    }
    if not found:
        return None
    tables = list(dict.fromkeys(str(table) for frame in found.values() for table in frame["table"]))
    charts = [_lines(board, found, table, measure) for table in tables[:MOST] for measure in MEASURES]
    left = f"Drawn are the first {MOST} of {len(tables)} tables of parameters; all are in the table below."
    notes = [*board.left_out(), *[left] * (len(tables) > MOST)]
    return Panel(charts, {"": _end(board.data, found)}, notes, board.looks)


def _lines(board: Board, found: dict[str, pl.DataFrame], table: str, measure: str) -> Chart:
    values: list[dict[str, Any]] = [
        {"name": name, "x": row["step"], "value": row[measure]}
        for name, frame in found.items()
        for row in frame.filter(pl.col("table") == table).iter_rows(named=True)
        if row[measure] is not None
    ]
    spec = lines(values, board.looks, {"type": "quantitative", "title": "step"}, {"title": None})
    title = f"{table}: {MEASURES[measure]}"
    return Chart(title, spec, f"{title} over training, a line per contender.")


def _end(data: str, found: dict[str, pl.DataFrame]) -> Table:
    rows = []
    for name, frame in found.items():
        last = frame.filter(pl.col("step") == pl.col("step").max().over("table"))
        for row in last.iter_rows(named=True):
            cells = [Cell(number(row[m], 3), row[m]) for m in ("norm", "effective_rank", "collapse")]
            rows.append([Cell(name, name), Cell(row["table"], row["table"]), *cells])
    heads = [Column("Contender"), Column("Table"), Column("Norm", "down")]
    return Table(f"{data}: at the end", [*heads, Column("Effective rank", "down"), Column("Collapse", "down")], rows)


SECTION = Section(
    "embeddings",
    "Embedding tables",
    "Embeddings",
    "Mean norm of the rows of a table, and its effective rank (how many directions it really uses) over training. A "
    "rank that falls towards 1 is a table that collapses.",
    draw,
)
