"""What a run measured, on the screen: a table, tasks by metrics."""

from collections.abc import Mapping, Sequence

import lightning as L
from rich.console import Console
from rich.table import Table

from mtlzoo.cli.records import stage_metrics
from mtlzoo.console import wide_console
from mtlzoo.module import MultiTaskModule

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


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
