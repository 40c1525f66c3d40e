"""What a dashboard shows: names of metrics and options that the runs of a project have logged."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtlzoo.metrics.direction import MAIN, main_metric


@dataclass(frozen=True)
class Logged:
    """One training as W&B knows it.

    Args:
        id: Of the run.
        config: Its flat options.
        summary: Its summary.
    """

    id: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """What is shown of the runs of one data set.

    Args:
        data: Its name; None for all runs of a project.
        tasks: Name of the main metric by task.
        metrics: Full names of all numbers in the summaries.
        pictures: Names of pictures.
        options: Flat options of models, such as ``model.lr``, of which runs have different values.
        baseline: Id of the run that others are compared with, where there is one.
    """

    data: str | None
    tasks: Mapping[str, str]
    metrics: frozenset[str]
    pictures: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    baseline: str | None = None

    def of(self, stage: str) -> list[str]:
        """Full names of the tasks' main metrics that were logged: ``test/<task>/<metric>``."""
        names = [f"{stage}/{task}/{metric}" for task, metric in self.tasks.items()]
        return [name for name in names if name in self.metrics]

    def mean(self, stage: str) -> str | None:
        """Full name of the mean of the main metric, where one is logged."""
        names = [f"{stage}/{metric}_mean" for metric in dict.fromkeys(self.tasks.values())]
        return next((name for name in names if name in self.metrics), None)

    def below(self, prefix: str) -> list[str]:
        """Full names that begin with ``prefix/``."""
        return sorted(name for name in self.metrics if name.startswith(f"{prefix}/"))


def shown(runs: Iterable[Logged], baseline: str) -> list[Shown]:
    """What is shown, per data set.

    Args:
        runs: Trainings of a project, the newest first.
        baseline: Name of the model whose plain run others are compared with.
    """
    by_data: dict[str, list[Logged]] = {}
    for run in runs:
        if "model_name" in run.config:  # else it is not one of ours
            by_data.setdefault(run.config["data_name"], []).append(run)
    return [_of_data(data, found, baseline) for data, found in sorted(by_data.items())]


def _of_data(data: str, runs: Sequence[Logged], baseline: str) -> Shown:
    values = {name: value for run in runs for name, value in run.summary.items() if not name.startswith("_")}
    metrics = frozenset(name for name, value in values.items() if not isinstance(value, Mapping | str))
    pictures = [n for n, v in values.items() if isinstance(v, Mapping) and str(v.get("_type")).startswith("image")]
    names = dict.fromkeys(name for run in runs for name in run.config if name.startswith("model."))
    differ = [name for name in names if len({str(run.config.get(name)) for run in runs}) > 1]
    plain = [r for r in runs if (r.config["model_name"], r.config.get("rule_name")) == (baseline, "sum")]
    first = min(plain, key=lambda run: int(run.config.get("seed") or 0), default=None)
    return Shown(
        data,
        main_metrics(metrics),
        metrics,
        tuple(sorted(pictures)),
        tuple(sorted(differ)),
        None if first is None else first.id,
    )


def main_metrics(names: Iterable[str]) -> dict[str, str]:
    """The main metric of every task that has one, by full names such as ``test/<task>/<metric>``."""
    found: dict[str, set[str]] = {}
    for name in sorted(names):
        stage, _, rest = name.partition("/")
        task, _, metric = rest.rpartition("/")
        if stage in ("val", "test") and task:
            found.setdefault(task, set()).add(metric)
    return {task: main for task, known in found.items() if (main := main_metric(known)) is not None}


def assumed(tasks: Sequence[str]) -> Shown:
    """What runs of these tasks will have logged, where there are none yet.

    Args:
        tasks: Names, or ``name/metric`` for a main metric other than AUC.
    """
    split = [task.rpartition("/") if task.rpartition("/")[2] in MAIN else (task, "", MAIN[0]) for task in tasks]
    main = {task: metric for task, _, metric in split}
    full = {f"{stage}/{task}/{metric}" for stage in ("val", "test") for task, metric in main.items()}
    means = {f"{stage}/{metric}_mean" for stage in ("val", "test") for metric in main.values() if metric != "recall@20"}
    losses = {"train/loss", *(f"train/{task}/loss" for task in main)}
    return Shown(None, main, frozenset(full | means | losses))
