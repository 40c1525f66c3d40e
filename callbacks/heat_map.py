"""Pictures of tables of numbers, such as the cosines of the tasks' gradients or the weights of gates."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Panel(NamedTuple):
    """One table of a picture.

    Args:
        values: [rows, columns]; NaN stays empty.
        rows: Their names.
        columns: Their names.
        title: Above the table.
        low: Number of the first colour.
        high: Number of the last one.
    """

    values: Sequence[Sequence[float]]
    rows: Sequence[str]
    columns: Sequence[str]
    title: str
    low: float = 0.0
    high: float = 1.0


def heat_map(values: Sequence[Sequence[float]], names: Sequence[str], title: str) -> "Figure":
    """Draws a square of numbers with its rows and columns named; NaN stays empty.

    Args:
        values: [T, T], between -1 (red) and 1 (blue).
        names: Of rows and columns.
        title: Above the picture.
    """
    return heat_maps([Panel(values, names, names, title, -1.0)], "RdBu")


def heat_maps(panels: Sequence[Panel], colours: str) -> "Figure":
    """Draws tables below each other.

    The picture has no window and no part in the state of `matplotlib.pyplot`: nothing is to be closed.

    Args:
        panels: The tables.
        colours: Name of matplotlib's scale.
    """
    # Takes a third of a second, and only those who draw need it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [2.0 + 0.6 * len(panel.rows) for panel in panels]
    width = 2.8 + 0.6 * max(len(panel.columns) for panel in panels)
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0]
    for axes, panel in zip(grid, panels, strict=True):
        picture = axes.imshow(np.array(panel.values, dtype=float), cmap=colours, vmin=panel.low, vmax=panel.high)
        _name(axes, panel)
        for row, line in enumerate(panel.values):
            for column, value in enumerate(line):
                if value == value:
                    dark = abs(value) > 0.6 * panel.high
                    color = "white" if dark else "black"
                    axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=color, fontsize="small")
        figure.colorbar(picture, ax=axes, shrink=0.8)
    return figure


def _name(axes: Any, panel: Panel) -> None:
    axes.set_xticks(range(len(panel.columns)), panel.columns, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(panel.rows)), panel.rows)
    axes.set_title(panel.title, fontsize="medium")


def pixels(figure: "Figure") -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """The picture as an array [height, width, 3]."""
    canvas: Any = figure.canvas
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]
