"""Draws the pictures of docs/surgery.md and docs/comparable_samples.md from what the benchmarks wrote.

    python benchmarks/pictures.py

``docs/images/surgery_cost.svg`` from results/surgery.json, and in the same way ``conflicts.svg``, ``rules.svg``,
``transfer_is_like.svg`` and ``transfer_long_view.svg``.
"""

import json
from math import nan
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from report import RESULTS

from mtlzoo.cli.compare_samples import picture

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
LEVELS = ("model", "parameter", "row")


def costs(rows: list[dict[str, Any]]) -> Figure:
    """Time of a step by tasks at the middle size, and by rows at the most tasks; added memory by rows."""
    figure = Figure(figsize=(13, 5.0), layout="constrained")
    by_tasks, by_rows, memory = figure.subplots(1, 3)
    ways = [way for way in dict.fromkeys(row["way"] for row in rows) if way != "sum"]
    sizes, tasks = (sorted({row[key] for row in rows}) for key in ("rows", "tasks"))
    middle = sizes[len(sizes) // 2]
    for way in ways:
        own = [row for row in rows if row["way"] == way]
        style = {"marker": "o", "markersize": 3, "linestyle": "--" if "torchjd" in way or "autograd" in way else "-"}
        _line(by_tasks, [(r["tasks"], r["to_plain"]) for r in own if r["rows"] == middle], way, style)
        _line(by_rows, [(r["rows"], r["to_plain"]) for r in own if r["tasks"] == tasks[-1]], way, style)
        _line(memory, [(r["rows"], r["added_mib"]) for r in own if r["tasks"] == tasks[-1]], way, style)
    by_tasks.set(title=f"{middle:,} rows", xlabel="tasks", xticks=tasks, ylabel="time of a step / plain step")
    by_rows.set(title=f"{tasks[-1]} tasks", xlabel="rows of the tables", xscale="log", yscale="log")
    memory.set(title=f"{tasks[-1]} tasks", xlabel="rows of the tables", xscale="log", yscale="log")
    memory.set_ylabel("added memory, MiB")
    by_tasks.set_yscale("log")
    figure.legend(*by_tasks.get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize="small")
    return figure


def conflicts(rows: list[dict[str, Any]]) -> Figure:
    """Share of groups in conflict for every pair of tasks, a bar per level."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    pairs = list(dict.fromkeys(f"{row['a']}\n{row['b']}" for row in rows))
    for number, level in enumerate(LEVELS):
        shares = [100 * row["conflict"] for row in rows if row["level"] == level]
        axes.bar([x + 0.27 * (number - 1) for x in range(len(pairs))], shares, 0.25, label=level)
    axes.set_xticks(range(len(pairs)), pairs, fontsize="x-small")
    axes.set_ylabel("groups with opposed gradients, %")
    axes.set_ylim(0, 70)
    axes.legend(title="level", ncols=3, loc="upper right")
    return figure


def rules(rows: list[dict[str, Any]]) -> Figure:
    """Validation AUC of every task under every rule, above that of the plain sum (mean over seeds)."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    names = list(dict.fromkeys(row["rule"] for row in rows))
    tasks = [key for key in rows[0] if key not in ("rule", "seed", "seconds")]
    for task in tasks:
        means = {name: fmean(row[task] for row in rows if row["rule"] == name) for name in names}
        axes.plot(range(len(names)), [means[name] - means["Sum"] for name in names], "o", label=task)
    axes.axhline(0.0, color="grey", linewidth=0.8)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_ylabel("validation AUC above Sum")
    axes.legend()
    return figure


def _line(axes: Any, points: list[tuple[float, float]], label: str, style: dict[str, Any]) -> None:
    if points:
        axes.plot(*zip(*sorted(points), strict=True), label=label, **style)


def main() -> None:
    mpl.rcParams["svg.hashsalt"] = "mtlzoo"  # the same file from the same numbers
    IMAGES.mkdir(exist_ok=True)
    pictures = (("surgery_cost", "surgery", costs), ("conflicts", "conflicts", conflicts), ("rules", "rules", rules))
    for name, source, draw in pictures:
        figure = draw(json.loads((RESULTS / f"{source}.json").read_text())["rows"])
        figure.savefig(IMAGES / f"{name}.svg", metadata={"Date": None})
    for compared in json.loads((RESULTS / "comparable_samples.json").read_text())["rows"]:
        rows = [{key: nan if value is None else value for key, value in row.items()} for row in compared["rows"]]
        figure = picture(rows, "auc")
        figure.savefig(IMAGES / f"transfer_{compared['tasks'][1]}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
