"""The panels of a dashboard, by what was logged."""

from itertools import combinations
from typing import Any

import wandb_workspaces.reports.v2 as wr

from mtlzoo.dashboard.shown import Shown
from mtlzoo.metrics.direction import direction

CONTENDER = wr.Config("contender")
"""Model and rule: what curves and bars are grouped by. Their band is the standard deviation over seeds."""
MANY = 1_000
"""Runs and bars that a panel shows at most; W&B's own default is 10."""
MECHANISM = {
    "surgery/cosine": "Cosine of the tasks' gradients",
    "surgery/conflict": "Share of gradients in conflict",
    "surgery/weight": "Weights of the rule",
    "surgery/norm": "Norms of the tasks' gradients",
}
"""Titles of curves of ConflictMonitor by the prefix of their names."""
COST = {"cost/rows_per_second": "Rows per second", "cost/peak_memory_mib": "Peak memory, MiB"}
"""Titles of bars by name."""
PAIRS = 6
"""Trade-offs that are shown at most: of the first tasks."""


def sections(shown: Shown) -> dict[str, list[Any]]:
    """Panels by the title of their section; those for which nothing was logged are left out."""
    found = {
        "Test": _bars(shown, shown.of("test"), "test"),
        "Trade-off between tasks": _trade_offs(shown),
        "Curves": [*_validations(shown), *_losses(shown)],
        "Mechanism": [*_mechanism(shown), *_pictures(shown)],
        "Calibration": _bars(shown, [f"test/{t}/{m}" for t in shown.tasks for m in ("calibration", "ece")], "test"),
        "Cost": [_bar(name, title) for name, title in COST.items() if name in shown.metrics],
        "Tuning": _tuning(shown),
    }
    return {title: panels for title, panels in found.items() if panels}


def _bars(shown: Shown, names: list[str], stage: str) -> list[Any]:
    return [_bar(name, name.removeprefix(f"{stage}/")) for name in names if name in shown.metrics]


def _bar(name: str, title: str) -> Any:
    return wr.BarPlot(
        title=title,
        metrics=[name],
        groupby=CONTENDER,
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        max_runs_to_show=MANY,
        max_bars_to_show=MANY,
    )


def _trade_offs(shown: Shown) -> list[Any]:
    pairs = list(combinations(shown.of("test"), 2))[:PAIRS]
    return [
        wr.ScatterPlot(title=f"{a} against {b}", x=wr.SummaryMetric(a), y=wr.SummaryMetric(b), z=None) for a, b in pairs
    ]


def _curve(names: list[str], title: str, x: str) -> Any:
    return wr.LinePlot(
        title=title,
        x=x,
        y=list(names),
        groupby=CONTENDER,
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        max_runs_to_show=MANY,
        smoothing_type="none",
    )


def _validations(shown: Shown) -> list[Any]:
    mean = shown.mean("val")
    names = [*([mean] if mean else []), *shown.of("val")]
    return [_curve([name], name, "epoch") for name in names]


def _losses(shown: Shown) -> list[Any]:
    names = ["train/loss", *(f"train/{task}/loss" for task in shown.tasks)]
    return [_curve([name], name, "trainer/global_step") for name in names if name in shown.metrics]


def _mechanism(shown: Shown) -> list[Any]:
    found = {title: shown.below(prefix) for prefix, title in MECHANISM.items()}
    for name in shown.below("gates"):  # gates/<layer>/<task>/<expert or entropy>
        found.setdefault(f"Gate {name.rpartition('/')[0].removeprefix('gates/')}", []).append(name)
    for name in shown.below("embeddings"):  # embeddings/<table>/<measure>
        found.setdefault(f"Embedding tables: {name.rpartition('/')[2]}", []).append(name)
    return [_curve(names, title, "trainer/global_step") for title, names in found.items() if names]


def _pictures(shown: Shown) -> list[Any]:
    return [wr.MediaBrowser(title=name, media_keys=[name]) for name in shown.pictures]


class OptionColumn(wr.ParallelCoordinatesPlotColumn):
    """A flat option whose name has dots, ``model.lr``; as a `Config` it would mean ``lr`` inside of ``model``."""

    def _to_model(self) -> Any:
        column, option = super()._to_model(), self.metric  # type: ignore[no-untyped-call]
        assert isinstance(option, wr.Config)
        column.accessor = flat(option.name)
        return column


def flat(option: str) -> str:
    """Where W&B keeps a flat option, for columns: ``config:model.lr.value``."""
    return f"config:{option}.value"


def _tuning(shown: Shown) -> list[Any]:
    score = shown.mean("val") or next(iter(shown.of("val")), None)
    if score is None or not shown.options:
        return []
    options = [OptionColumn(metric=wr.Config(name), display_name=name) for name in shown.options]
    last = wr.ParallelCoordinatesPlotColumn(
        metric=wr.SummaryMetric(score), display_name=score, inverted=direction(score) == "min"
    )
    return [wr.ParallelCoordinatesPlot(title="Options and validation", columns=[*options, last])]
