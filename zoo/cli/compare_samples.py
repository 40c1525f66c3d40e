"""``mtlzoo compare-samples``: transfer between tasks, by how comparable a user's feedback on them is."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from jsonargparse import ActionConfigFile  # type: ignore[attr-defined]  # public, but not in __all__
from rich.table import Table

from mtlzoo.analysis.comparable import UNSEEN, Array, Sample, bin_keys, quantile_bins, transfer_table
from mtlzoo.callbacks.atomic import whole_file
from mtlzoo.checkpoint import load
from mtlzoo.cli.agreement import check_data, peek
from mtlzoo.cli.parser import Parser
from mtlzoo.cli.prepare import data_of
from mtlzoo.cli.run_folder import write_json
from mtlzoo.console import wide_console
from mtlzoo.datamodules.base import MultiTaskDataModule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHUNK = 2**22
"""Rows of train that are counted together."""


def run(args: Sequence[str]) -> None:
    """Compares runs and writes ``transfer.csv``, ``transfer.json`` and ``transfer.png``."""
    options = _parser().parse_args(list(args[1:]))
    data = data_of([f"--config={options.single[0] / 'config.yaml'}"], prog="mtlzoo compare-samples")
    tasks = options.tasks or [task.name for task in data.schema.tasks if task.kind == "binary"]
    _check(data, tasks, options)
    columns = {task.name: column.start for task, column in data.schema.label_columns}
    key = str(options.by or data.recipe.user)
    names, positives = count_positives(data, key, [columns[task] for task in tasks])
    if options.quantiles:
        bins = quantile_bins(positives, tasks, number=options.quantiles)
    else:
        bins = bin_keys(positives, tasks, ratio=options.ratio, raw=options.raw)
    rows = _keys_of(data, key, "test")
    place = pl.DataFrame({"key": rows}).join(
        pl.DataFrame({"key": names, "bin": bins}), on="key", how="left", maintain_order="left"
    )
    of_row = place["bin"].fill_null(UNSEEN).to_numpy()
    numbers = np.unique(rows.to_numpy(), return_inverse=True)[1]
    labels = torch.as_tensor(data.data["test"]["labels"]).numpy()
    scores = predictions(data, options.runs, options.single, tasks)
    table = []
    for task in tasks:
        observed = ~np.isnan(labels[:, columns[task]])
        for name in ["all", *sorted(set(of_row))]:
            chosen = observed & ((of_row == name) | (name == "all"))
            sample = Sample(
                numbers[chosen],
                labels[chosen, columns[task]],
                {model: runs[task][:, chosen] for model, runs in scores.items()},
            )
            size = {"rows": int(chosen.sum()), "keys": len(np.unique(sample.keys))}
            size["positives"] = int(sample.labels.sum())
            table += [
                {"task": task, "bin": name, **size, **row}
                for row in transfer_table(sample, "single", bootstrap=options.bootstrap)
            ]
    _write(table, options, {"key": key, "tasks": tasks, "keys_per_bin": _sizes(bins)})


def count_positives(data: MultiTaskDataModule, key: str, columns: Sequence[int]) -> tuple[pl.Series, Array]:
    """Keys of train, and how many positives of each label column they have: names [K], numbers [K, T]."""
    split = data.data["train"]
    keys = _keys_of(data, key, "train")
    parts = []
    for start in range(0, split.rows, CHUNK):
        labels = split["labels"][start : start + CHUNK, list(columns)].numpy() == 1
        frame = pl.DataFrame(labels.astype(np.int64), schema=[str(i) for i in range(len(columns))])
        parts.append(frame.with_columns(key=keys[start : start + CHUNK]).group_by("key").sum())
    totals = pl.concat(parts).group_by("key").sum().sort("key")
    return totals["key"], totals.drop("key").to_numpy()


def predictions(
    data: MultiTaskDataModule, runs: Sequence[Path], single: Sequence[Path], tasks: Sequence[str]
) -> dict[str, dict[str, Array]]:
    """Probabilities on the test split: by model (``single``: the references) and task, [runs, rows]."""
    found: dict[str, dict[str, list[Array]]] = {}
    for folder, reference in [*((run, False) for run in runs), *((run, True) for run in single)]:
        path = folder / "checkpoints" / "best.ckpt"
        check_data(peek(path), data, path)
        model = load(path)
        by_task = found.setdefault("single" if reference else type(model).__name__, {task: [] for task in tasks})
        with torch.inference_mode():
            parts = [model.predict_step(batch, i) for i, batch in enumerate(data.test_dataloader())]
        for task in tasks:
            by_task[task].append(torch.cat([part[task] for part in parts]).numpy())
    return {name: {task: np.stack(rows) for task, rows in by_task.items()} for name, by_task in found.items()}


def picture(table: Sequence[dict[str, Any]], metric: str) -> "Figure":
    """Transfer in every bin with its interval: a panel per task, a colour per model."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in table if row["metric"] == metric]
    tasks, models = (list(dict.fromkeys(row[key] for row in rows)) for key in ("task", "model"))
    figure = Figure(figsize=(1.5 + 4.5 * len(tasks), 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    for axes, task in zip(panels, tasks, strict=True):
        bins = list(dict.fromkeys(row["bin"] for row in rows if row["task"] == task))
        for number, model in enumerate(models):
            shown = [row for row in rows if (row["task"], row["model"]) == (task, model)]
            x = [bins.index(row["bin"]) + 0.8 * ((number + 0.5) / len(models) - 0.5) for row in shown]
            error = [[max(0.0, row["transfer"] - row["low"]) for row in shown]]
            error.append([max(0.0, row["high"] - row["transfer"]) for row in shown])
            axes.errorbar(x, [row["transfer"] for row in shown], yerr=error, fmt="o", capsize=3, label=model)
        axes.axhline(0.0, color="grey", linewidth=0.8)
        axes.set_xticks(range(len(bins)), bins, rotation=30, ha="right", rotation_mode="anchor")
        axes.set_title(task)
    panels[0].set_ylabel(f"transfer: {metric} above single task")
    panels[0].legend()
    return figure


def _parser() -> Parser:
    parser = Parser(
        prog="mtlzoo compare-samples",
        description="Compares runs with single-task runs of the same data, in bins of users by the tasks they gave "
        "comparable feedback on in train (the definition is ours: docs/comparable_samples.md).",
    )
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="These options in a file.")
    parser.add_argument("--runs", type=list[Path], required=True, help="Run folders; seeds of one model are averaged.")
    parser.add_argument("--single", type=list[Path], required=True, help="Run folders of single-task references.")
    parser.add_argument("--tasks", type=list[str] | None, help="Binary tasks to compare; all of them if left out.")
    parser.add_argument("--by", type=str | None, help="Identifying column whose values are binned; the user's.")
    parser.add_argument("--ratio", type=float, default=2.0, help="Feedback whose ratio is below is comparable.")
    parser.add_argument("--quantiles", type=int | None, help="So many equal bins of two tasks' ratio instead.")
    parser.add_argument("--raw", type=bool, default=False, help="Compare counts, not counts by a task's mean.")
    parser.add_argument("--bootstrap", type=int, default=200, help="Draws of keys for the intervals.")
    parser.add_argument("--out", type=Path, default=Path("comparable_samples"), help="Folder of table and picture.")
    parser.add_argument("--wandb", type=str | None, help="W&B project that gets table and picture, too.")
    return parser


def _check(data: MultiTaskDataModule, tasks: Sequence[str], options: Any) -> None:
    binary = [task.name for task in data.schema.tasks if task.kind == "binary"]
    if wrong := [task for task in tasks if task not in binary]:
        raise ValueError(f"--tasks {wrong}: not among the binary tasks of the data, {binary}.")
    if len(tasks) < 2:
        raise ValueError(f"feedback on {list(tasks)} is comparable with nothing: name two tasks of {binary}.")
    if not options.ratio > 1 or (options.quantiles is not None and options.quantiles < 2) or options.bootstrap < 1:
        raise ValueError(
            f"--ratio {options.ratio}, --quantiles {options.quantiles}, --bootstrap {options.bootstrap}; "
            "allowed are a ratio above 1, 2 quantiles or more, and 1 draw or more."
        )


def _keys_of(data: MultiTaskDataModule, key: str, split: str) -> pl.Series:
    ids = data.data[split].ids()
    if key not in ids.columns:
        raise ValueError(f"--by {key}: the data keep no such identifying column; they keep {ids.columns}.")
    return ids[key]


def _sizes(bins: Array) -> dict[str, int]:
    names, counts = np.unique(bins, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _write(table: list[dict[str, Any]], options: Any, about: dict[str, Any]) -> None:
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    with whole_file(options.out / "transfer.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    chosen = {name: [str(p) for p in getattr(options, name)] for name in ("runs", "single")}
    chosen |= {name: getattr(options, name) for name in ("ratio", "quantiles", "raw", "bootstrap")}
    write_json(options.out / "transfer.json", {**about, "options": chosen, "rows": table})
    figure = picture(table, "auc")
    with whole_file(options.out / "transfer.png") as file:
        figure.savefig(file, dpi=120)
    shown = Table("task", "bin", "rows", "keys", "model", "single", "value", "transfer", "95 % interval", title="AUC")
    for row in table:
        if row["metric"] == "auc":
            numbers = [f"{row[name]:.4f}" for name in ("reference", "value")]
            interval = f"{row['low']:+.4f} .. {row['high']:+.4f}"
            sizes = [f"{row['rows']:,}", f"{row['keys']:,}"]
            shown.add_row(row["task"], row["bin"], *sizes, row["model"], *numbers, f"{row['transfer']:+.4f}", interval)
    wide_console().print(shown)
    print(f"Written: {options.out}")
    if options.wandb:
        import wandb

        with wandb.init(
            project=options.wandb, dir=options.out, job_type="compare-samples", config={**about, **chosen}
        ) as logged:
            frame = pl.DataFrame(table).to_pandas()
            logged.log({"comparable/transfer": wandb.Table(dataframe=frame), "comparable/picture": wandb.Image(figure)})
