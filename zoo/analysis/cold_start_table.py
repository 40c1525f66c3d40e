"""The table of a cold-start report: written as CSV and picture, printed, sent to W&B, and read again."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.table import Table

from mtlzoo.analysis.cold_start import Row
from mtlzoo.callbacks.atomic import whole_file
from mtlzoo.console import wide_console

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def publish(table: Sequence[Row], folder: Path, name: str) -> "Figure":
    """Writes a table as CSV and picture, and prints it; returns the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / f"{name}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    figure = picture(table)
    with whole_file(folder / f"{name}.png") as file:
        figure.savefig(file, dpi=120)
    columns = [column for column in table[0] if column != "bucket"]
    shown = Table("rows of train", *columns, title="Cold start")
    for row in table:
        shown.add_row(row["bucket"], *(_text(row[column]) for column in columns))
    wide_console().print(shown)
    return figure


def read_report(folder: Path) -> list[Row]:
    """The rows that `ColdStartReport` wrote into a run folder.

    Raises:
        FileNotFoundError: There are none; the message says how to get them.
    """
    path = folder / "cold_start.csv"
    if not path.is_file():
        raise FileNotFoundError(
            f"no {path}. Run: mtlzoo test -c {folder / 'config.yaml'} --ckpt_path best "
            "--trainer.callbacks+=ColdStartReport"
        )
    with path.open(newline="") as file:
        return [{**row, "value": float(row["value"]), "rows": int(row["rows"])} for row in csv.DictReader(file)]


def log(experiment: Any, table: Sequence[Row], figure: "Figure") -> None:
    """Sends table and picture to a W&B run."""
    import wandb

    columns: list[str | int] = list(table[0])
    rows = wandb.Table(columns=columns, data=[list(row.values()) for row in table])
    experiment.log({"cold_start/table": rows, "cold_start/picture": wandb.Image(figure)})


def picture(table: Sequence[Row]) -> "Figure":
    """A row of panels for users, one for items, a panel per task; a line per run."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sides, tasks, buckets = (list(dict.fromkeys(row[key] for row in table)) for key in ("side", "task", "bucket"))
    figure = Figure(figsize=(1.5 + 3.5 * len(tasks), 0.5 + 3 * len(sides)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(sides), len(tasks), squeeze=False)
    for side, line in zip(sides, panels, strict=True):
        for task, axes in zip(tasks, line, strict=True):
            rows = [row for row in table if (row["side"], row["task"]) == (side, task)]
            for run in dict.fromkeys(row.get("run", "") for row in rows):
                own = {row["bucket"]: row for row in rows if row.get("run", "") == run}
                values = [own[bucket]["value"] for bucket in buckets]
                errors = [own[bucket].get("std", float("nan")) for bucket in buckets]
                errors = torch.tensor(errors).nan_to_num(0.0).tolist()
                axes.errorbar(range(len(buckets)), values, yerr=errors, fmt="o-", markersize=4, capsize=3, label=run)
            axes.set_xticks(range(len(buckets)), buckets)
            axes.set_xlim(-0.5, len(buckets) - 0.5)  # the same where the first buckets have no row
            axes.set(title=f"{task}, {rows[0]['metric']}", xlabel=f"rows of the {side} in train")
            if any(row.get("run") for row in rows):
                axes.legend(fontsize="small")
    return figure


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
