"""What contenders cost: speed, memory, parameters, time, and what surgery adds."""

from collections.abc import Sequence

import polars as pl

from mtlzoo.compare.page.board import Board
from mtlzoo.compare.page.measured import curves
from mtlzoo.compare.page.parts import Cell, Column, Panel, Section, Table
from mtlzoo.compare.page.text import NONE, amount
from mtlzoo.compare.results import Result

COLUMNS = (
    Column("Contender"),
    Column("Rows/s", "down"),
    Column("Step, ms"),
    Column("Backward, %"),
    Column("Memory, MiB"),
    Column("Parameters of tables"),
    Column("Others"),
    Column("Fit, s"),
    Column("Best epoch"),
    Column("Test, s"),
    Column("Step against sum"),
)
MEASURES = {"rows_per_second": 1.0, "step_seconds": 1000.0, "backward_share": 100.0, "peak_memory_mib": 1.0}
"""What StepCost logs, and what it is multiplied by."""
RECORDED = (("parameters", "tables"), ("parameters", "dense"), ("seconds", "fit"), ("epoch",), ("seconds", "test"))
"""What results.json holds."""


def draw(board: Board) -> Panel | None:
    """A table of all contenders but points of the frontier, which cost what their model does; of what was measured."""
    names = [name for name, cells in board.cells.items() if cells and name not in board.frontier]
    if not names:
        return None
    logged = {name: measured(board.cells[name]) for name in names}
    steps = {name: numbers[1] for name, numbers in logged.items()}
    plain = {board.cells[name][0].model: steps[name] for name in names if board.cells[name][0].rule == "sum"}
    rows = []
    for name in names:
        cells = board.cells[name]
        numbers = logged[name] + [recorded(cells, *path) for path in RECORDED]
        own, base = steps[name], plain.get(cells[0].model)
        ratio = own / base if own is not None and base and cells[0].rule != "sum" else None
        against = Cell(NONE if ratio is None else f"{ratio:.2f} ×", ratio)
        rows.append([Cell(name, name), *(Cell(amount(value), value) for value in numbers), against])
    known = [place for place in range(len(COLUMNS)) if any(row[place].value is not None for row in rows)]
    kept = [[row[place] for place in known] for row in rows]
    return Panel(tables={"": Table(f"{board.data}: cost", [COLUMNS[place] for place in known], kept)})


def measured(cells: Sequence[Result]) -> list[float | None]:
    """What StepCost logged, averaged over training and seeds; None where it was not asked for."""
    found = curves(cells, [f"cost/{measure}" for measure in MEASURES], along="step")
    means: list[float | None] = []
    for measure, factor in MEASURES.items():
        frame = found.get(f"cost/{measure}")
        mean = None if frame is None else frame.select(pl.col("mean").dot("seeds") / pl.col("seeds").sum()).item()
        means.append(None if mean is None else factor * float(mean))
    return means


def recorded(cells: Sequence[Result], *path: str) -> float | None:
    """A number of results.json, averaged over seeds; None where one has none."""
    values = []
    for cell in cells:
        value = cell.record
        for key in path:
            value = value[key]
        values.append(value)
    return None if None in values else sum(float(str(value)) for value in values) / len(values)


SECTION = Section(
    "cost",
    "Cost",
    "Cost",
    "Means over training and seeds, on the machine that ran the cells; compare only cells that ran alike. “Step "
    "against sum” is the time of a step against the same model without a rule: what surgery adds.",
    draw,
)
