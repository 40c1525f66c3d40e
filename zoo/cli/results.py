"""What a run measured: the table on the screen and the records fit.json and results.json."""

import platform
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
import yaml
from lightning.pytorch.callbacks import Timer
from rich.console import Console
from rich.table import Table

from mtlzoo.cli.checkpoints import BestCheckpoint
from mtlzoo.cli.run_folder import describe, read_json
from mtlzoo.module import MultiTaskModule
from mtlzoo.version import __version__

if TYPE_CHECKING:
    from mtlzoo.cli.fit import ZooCLI


def stage_metrics(trainer: L.Trainer) -> dict[str, float]:
    """The metrics of the validation or test that just ended, by full name."""
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


MAIN = (
    *("auc", "gauc_impressions", "pr_auc", "logloss", "accuracy", "f1_macro", "rmse", "mae"),
    *("recall@20", "ndcg@20", "hr@20", "mrr@20"),
)
"""Metrics that the table shows unless all are asked for, in this order."""


def print_metrics(trainer: L.Trainer, model: MultiTaskModule, *, everything: bool = False) -> None:
    """A table, tasks by metrics, with the means over tasks in the last row.

    Args:
        trainer: After a validation or a test.
        model: The model.
        everything: Shows all metrics; else the main ones, as many as the screen is wide for.
    """
    metrics = stage_metrics(trainer)
    if not metrics:
        return
    stage = next(iter(metrics)).partition("/")[0]
    names = [task.name for task in model.schema.tasks]
    found = list(dict.fromkeys(name.split("/")[2] for name in metrics if name.count("/") == 2))
    console = wide_console() if everything else Console()
    columns = _all_in_order(found) if everything else [column for column in MAIN if column in found]
    table = _metrics_table(f"{stage}: {type(model).__name__}", stage, names, columns, metrics)
    while not everything and len(columns) > 1 and console.measure(table).minimum > console.width:
        columns.pop()
        table = _metrics_table(f"{stage}: {type(model).__name__}", stage, names, columns, metrics)
    console.print(table)


def _all_in_order(found: Sequence[str]) -> list[str]:
    """AUC first, the kinds as they come, lengths of lists rising."""
    kinds = [column.partition("@")[0] for column in found]

    def order(column: str) -> tuple[bool, int, int]:
        kind, _, length = column.partition("@")
        return column != "auc", kinds.index(kind), int(length or 0)

    return sorted(found, key=order)


def _metrics_table(
    title: str, stage: str, names: Sequence[str], columns: Sequence[str], metrics: Mapping[str, float]
) -> Table:
    table = Table(title=title)
    table.add_column("task", overflow="fold", min_width=8)
    for column in columns:
        table.add_column(column.removesuffix("_impressions"), justify="right", no_wrap=True)
    for name in names:
        table.add_row(name, *(_number(metrics.get(f"{stage}/{name}/{c}")) for c in columns))
    table.add_section()
    table.add_row("mean", *(_number(metrics.get(f"{stage}/{c}_mean")) for c in columns))
    return table


def wide_console() -> Console:
    """The screen; where there is none, lines long enough for every column."""
    return Console() if sys.stdout.isatty() else Console(width=200, no_color=True)


def fit_record(trainer: L.Trainer) -> dict[str, Any]:
    """What a training came to; seconds count resumed parts once."""
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set outside of __init__
    timer = next(c for c in callbacks if isinstance(c, Timer))
    best = next((c for c in callbacks if isinstance(c, BestCheckpoint)), None)
    score = None if best is None or best.best_model_score is None else float(best.best_model_score)
    return {
        "seconds": timer.time_elapsed(),
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "monitor": None if best is None else best.monitor,
        "best": score,
    }


def test_record(cli: "ZooCLI", seconds: float) -> dict[str, Any]:
    """All that results.json holds; names are listed in docs/cli.md."""
    config = yaml.safe_load(cli.parser.dump(cli.config, skip_none=False))[cli.config.subcommand]
    manifest = cli.datamodule.data.manifest
    summary = describe(cli.options)
    tables = sum(p.numel() for p in cli.model.tables().values())
    return {
        "metrics": stage_metrics(cli.trainer),
        "model": summary["model_name"],
        "data": summary["data_name"],
        "rule": summary["rule_name"],
        "rule_options": summary["rule_options"],
        "changed": summary["changed"],
        "seed": summary["seed"],
        "data_fingerprint": manifest["fingerprint"],
        "rows": manifest["rows"],
        "parameters": {"tables": tables, "dense": sum(p.numel() for p in cli.model.parameters()) - tables},
        "seconds": {"fit": _seconds_of_fit(cli.folder / "fit.json"), "test": seconds},
        "checkpoint": str(cli.ckpt_path),
        "epoch": cli.checkpoint["epoch"],
        "step": cli.checkpoint["global_step"],
        "device": str(cli.model.device),
        "versions": versions(),
        "config": config,
    }


def _seconds_of_fit(path: Path) -> float | None:
    """None where the training has not ended, or its record is damaged, which is no reason to lose a test."""
    if not path.is_file():
        return None
    try:
        return float(read_json(path)["seconds"])
    except (ValueError, KeyError, TypeError) as error:
        warnings.warn(f"The seconds of the training are unknown. {path}: {error!r}", stacklevel=2)
        return None


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    return {
        "mtlzoo": __version__,
        "torch": torch.__version__,
        "lightning": L.__version__,
        "python": platform.python_version(),
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
