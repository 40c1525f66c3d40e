"""A picture of a square of numbers between -1 and 1, such as the cosines of the tasks' gradients."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def heat_map(values: Sequence[Sequence[float]], names: Sequence[str], title: str) -> "Figure":
    """Draws a square of numbers with its rows and columns named; NaN stays empty.

    The picture has no window and no part in the state of `matplotlib.pyplot`: nothing is to be closed.

    Args:
        values: [T, T], between -1 (red) and 1 (blue).
        names: Of rows and columns.
        title: Above the picture.
    """
    # Takes a third of a second, and only those who draw need it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    side = 2.0 + 0.6 * len(names)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    picture = axes.imshow(np.array(values, dtype=float), cmap="RdBu", vmin=-1.0, vmax=1.0)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.set_title(title, fontsize="medium")
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            if value == value:
                color = "white" if abs(value) > 0.6 else "black"
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=color, fontsize="small")
    figure.colorbar(picture, ax=axes, shrink=0.8)
    return figure


def pixels(figure: "Figure") -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """The picture as an array [height, width, 3]."""
    canvas: Any = figure.canvas
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]
