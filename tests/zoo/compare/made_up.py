"""Finished cells that nobody trained, on disk as a comparison leaves them; who is better is known beforehand."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, TypeAlias
from zlib import crc32

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from mtlzoo.compare.results import TESTED, Result
from mtlzoo.metrics.grouped import grouped_auc
from mtlzoo.metrics.ties import RESOLUTION

Array: TypeAlias = NDArray[Any]
TASKS = ("click", "like", "follow")
LAYERS = {"MMoE": 1, "PLE": 2}
"""Models with gates; the last expert of the last layer of PLE is dead."""
EXPERTS = 4
STEPS = 20
"""Between two lines of the monitors."""


@dataclass(frozen=True)
class Contender:
    """What is compared, and how good it is.

    Args:
        model: Name of the model.
        rule: Name of the rule, ``sum`` without one.
        gains: Per task what its logit knows more of the label than single task's, in shares; 0 beyond the last.
        weights: Of the tasks' losses, where it is a point of the scalarisation frontier.
    """

    model: str
    rule: str = "sum"
    gains: tuple[float, ...] = ()
    weights: Mapping[str, float] | None = None

    @property
    def name(self) -> str:
        name = self.model if self.rule == "sum" else f"{self.model} + {self.rule}"
        return (
            name if self.weights is None else f"{name} ({', '.join(f'{t} {w:.3g}' for t, w in self.weights.items())})"
        )


CONTENDERS = (
    Contender("SingleTask"),
    Contender("SharedBottom", gains=(0.3, -0.5)),
    Contender("MMoE", gains=(0.3, 0.0)),
    Contender("MMoE", "PCGrad", gains=(0.1, 0.3)),
    Contender("PLE", gains=(0.5, 0.5, 0.5)),
)


def frontier(tasks: Sequence[str], points: int) -> tuple[Contender, ...]:
    """A model of static weights of the first two tasks: what the one gains, the other loses, and a bit."""
    shares = np.linspace(0, 1, points + 2)[1:-1]
    return tuple(
        Contender("SharedBottom", gains=(s - 0.6, 0.3 - s), weights={tasks[0]: float(s), tasks[1]: float(1 - s)})
        for s in shares
    )


def many(number: int) -> tuple[Contender, ...]:
    """As many contenders as are asked for, SingleTask among them."""
    draw = np.random.default_rng(number)
    others = (Contender(f"Model{i // 5}", f"Rule{i % 5}", tuple(draw.normal(0, 0.2, 3))) for i in range(number - 1))
    return (Contender("SingleTask"), *others)


def write_cells(
    folder: Path,
    contenders: Sequence[Contender] = CONTENDERS,
    *,
    data: Sequence[str] = ("Clicks",),
    tasks: Sequence[str] = TASKS,
    seeds: int = 3,
    rows: int = 300,
    users: int = 30,
    epochs: int = 4,
    monitors: bool = True,
) -> list[Result]:
    """Writes cells, one per data set, contender and seed.

    Args:
        folder: Of the comparison; the cells lie in ``cells/`` below.
        contenders: What is compared.
        data: Names of data sets.
        tasks: Binary tasks, each rarer than the one before.
        seeds: Number of seeds, from 0.
        rows: Of test.
        users: Of test.
        epochs: Of every training.
        monitors: Whether the files of the monitors are there, and a cold-start report.
    """
    results = []
    for place, source in enumerate(data):
        truth = _Truth(source, place, tasks, rows, users)
        for contender in contenders:
            for seed in range(seeds):
                results.append(_write_cell(folder, truth, contender, seed, epochs, monitors))
    return results


class _Truth:
    """The test rows of a data set, the same for every cell."""

    def __init__(self, name: str, place: int, tasks: Sequence[str], rows: int, users: int) -> None:
        draw = np.random.default_rng(place)
        self.name, self.tasks = name, tasks
        self.users = np.sort(draw.integers(0, users, rows))
        self.biases = 0.3 - 0.9 * np.arange(len(tasks))
        taste = draw.normal(0, 0.5, (users, len(tasks)))[self.users]
        self.signal = draw.normal(0, 1.5, (rows, len(tasks))) + taste
        self.labels = (draw.random(self.signal.shape) < expit(self.biases + self.signal)).astype(np.float32)
        self.labels[:2] = [[0.0], [1.0]]  # both classes, however rare


def _write_cell(folder: Path, truth: _Truth, contender: Contender, seed: int, epochs: int, monitors: bool) -> Result:
    parts = [truth.name, contender.model, *([] if contender.rule == "sum" else [contender.rule]), f"s{seed}"]
    run, code = "-".join(parts), crc32(f"{truth.name} {contender.name} {seed}".encode())
    run_folder = folder / "cells" / f"{run}-{code:08x}" / run / "version_0"
    (run_folder / TESTED).mkdir(parents=True)
    draw = np.random.default_rng(code)
    strength = 0.6 * (1 + np.resize([*contender.gains, *[0.0] * len(truth.tasks)], len(truth.tasks)))
    strength = strength + draw.normal(0, 0.02, len(truth.tasks))
    noise = draw.normal(0, 1, truth.signal.shape)
    logits = (truth.biases + strength * truth.signal + noise).astype(np.float32)
    table: dict[str, Array] = {"row": np.arange(len(logits)), "user": truth.users}
    table |= {task: logits[:, t] for t, task in enumerate(truth.tasks)}
    table |= {f"label:{task}": truth.labels[:, t] for t, task in enumerate(truth.tasks)}
    pl.DataFrame(table).write_parquet(run_folder / TESTED / "part-00000.parquet")
    metrics = _metrics(truth, logits)
    record = _record(truth, contender, seed, metrics, epochs)
    (run_folder / "results.json").write_text(json.dumps(record, indent=2))
    (run_folder / "config.yaml").write_text(
        f"seed_everything: {seed}\nmodel:\n  class_path: mtlzoo.{contender.model}\n"
    )
    fit = {"seconds": record["seconds"]["fit"], "epochs": epochs, "steps": epochs * 100, "monitor": "val/auc_mean"}
    (run_folder / "fit.json").write_text(json.dumps(fit | {"best": metrics["test/auc_mean"]}))
    _table(run_folder / "metrics.csv", _curves(draw, metrics, epochs, contender))
    if monitors:
        _write_monitors(run_folder, draw, truth, contender, epochs)
    return Result(
        run_folder, contender.name, truth.name, contender.model, contender.rule, seed, record, contender.weights
    )


def _metrics(truth: _Truth, logits: Array) -> dict[str, float | None]:
    """What the logits come to, by the names of results.json."""
    found: dict[str, float | None] = {}
    chances = expit(logits.astype(np.float64))
    for t, task in enumerate(truth.tasks):
        label, chance = truth.labels[:, t], chances[:, t]
        likelihood = np.where(label == 1, chance, 1 - chance)
        found[f"test/{task}/logloss"] = float(-np.log(likelihood).mean())
        found[f"test/{task}/auc"] = auc(logits[:, t], label)
        found[f"test/{task}/calibration"] = float(chance.sum() / label.sum())
        found[f"test/{task}/ece"] = float(abs(chance.mean() - label.mean()))
        within = None if t == len(truth.tasks) - 1 else auc(logits[:, t], label, truth.users)
        found[f"test/{task}/gauc_impressions"] = within
    for metric in ("auc", "logloss"):
        found[f"test/{metric}_mean"] = float(np.mean([found[f"test/{task}/{metric}"] for task in truth.tasks]))
    return found


def auc(scores: Array, labels: Array, users: Array | None = None) -> float:
    """Area under the ROC curve, or the mean of those of users by their rows, with ties as mtlzoo has them."""
    groups = np.zeros(len(scores), dtype=np.int64) if users is None else users
    return grouped_auc(scores, np.where(labels == 1, 1, -1), groups, RESOLUTION)["impressions"]


def _record(truth: _Truth, contender: Contender, seed: int, metrics: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    surgery = 1.0 if contender.rule == "sum" else 1.7
    size = len(truth.tasks) if contender.model == "SingleTask" else 1
    return {
        "metrics": dict(metrics),
        "model": contender.model,
        "data": truth.name,
        "rule": contender.rule,
        "rule_options": "",
        "changed": "",
        "seed": seed,
        "data_fingerprint": f"{truth.name}-{crc32(truth.name.encode()):016x}",
        "rows": {"train": 100 * len(truth.labels), "val": len(truth.labels), "test": len(truth.labels)},
        "parameters": {"tables": 64_000 * size, "dense": 21_000 * size},
        "seconds": {"fit": 12.0 * epochs * surgery * size, "test": 1.5},
        "checkpoint": "checkpoints/best.ckpt",
        "epoch": epochs - 1,
        "step": epochs * 100,
        "device": "cpu",
        "versions": {"mtlzoo": "0.2.0", "torch": "2.13.0+cpu", "lightning": "2.6.6", "python": "3.11.7"},
        "config": {"seed_everything": seed},
    }


def _curves(
    draw: np.random.Generator, metrics: Mapping[str, Any], epochs: int, contender: Contender
) -> Iterator[dict[str, Any]]:
    """Lines of metrics.csv: losses and costs by the way, and a validation after every epoch."""
    speed = 9000.0 / (1.0 if contender.rule == "sum" else 1.7)
    for epoch in range(epochs):
        for step in (100 * epoch + 49, 100 * epoch + 99):
            cost = {"rows_per_second": speed * draw.uniform(0.95, 1.05), "step_seconds": 900 / speed}
            cost |= {"backward_share": 0.6, "peak_memory_mib": 600.0 + 10 * len(contender.name)}
            yield {"epoch": epoch, "step": step, "train/loss": 1 / (step + 50)} | {
                f"cost/{k}": v for k, v in cost.items()
            }
        missing = 0.2 * np.exp(-epoch)
        values = {name.replace("test/", "val/"): value for name, value in metrics.items() if value is not None}
        worse = {k: v + (missing if "logloss" in k else -missing) + draw.normal(0, 0.003) for k, v in values.items()}
        yield {"epoch": epoch, "step": 100 * epoch + 99, **worse}


def _write_monitors(folder: Path, draw: np.random.Generator, truth: _Truth, contender: Contender, epochs: int) -> None:
    steps = range(STEPS - 1, epochs * 100, STEPS)
    if contender.rule != "sum":
        _table(folder / "conflicts.csv", _conflicts(draw, truth.tasks, steps))
    if contender.model in LAYERS:
        _table(folder / "gates.csv", _gates(draw, truth.tasks, LAYERS[contender.model], steps))
    lines = [
        {"step": s, "table": name, "norm": size + s / 400, "effective_rank": 14 - s / 80, "collapse": s / 4000}
        for name, size in (("user", 1.0), ("item", 2.0))
        for s in steps
    ]
    _table(folder / "embeddings.csv", lines)
    buckets = {"0": 0.6, "1-5": 0.62, "6-20": 0.66, ">20": 0.7}
    _table(
        folder / "cold_start.csv",
        (
            {
                "side": side,
                "bucket": bucket,
                "task": task,
                "metric": "auc",
                "value": value + draw.normal(0, 0.01),
                "rows": 90,
            }
            for side in ("user", "item")
            for bucket, value in buckets.items()
            for task in truth.tasks
        ),
    )


def _conflicts(draw: np.random.Generator, tasks: Sequence[str], steps: Sequence[int]) -> Iterator[dict[str, Any]]:
    for step in steps:
        for place, (a, b) in enumerate(combinations(tasks, 2)):
            cosine = 0.3 - 0.25 * place + draw.normal(0, 0.1)
            yield {"step": step, "task_a": a, "task_b": b, "cosine": cosine, "conflict_rate": float(expit(-5 * cosine))}


def _gates(
    draw: np.random.Generator, tasks: Sequence[str], layers: int, steps: Sequence[int]
) -> Iterator[dict[str, Any]]:
    for step in steps:
        for layer in range(layers):
            for task in tasks:
                weights = draw.dirichlet(np.full(EXPERTS, 5.0))
                if layer == 1:
                    weights = np.append(draw.dirichlet(np.full(EXPERTS - 1, 5.0)), 0.0)
                entropy = float(-(weights * np.log(weights + 1e-12)).sum() / np.log(EXPERTS))
                for expert, weight in enumerate(weights):
                    line = {"step": step, "layer": f"layer{layer}", "task": task, "expert": expert}
                    yield line | {"weight": weight, "entropy": entropy}


def _table(path: Path, lines: Iterator[dict[str, Any]] | Sequence[dict[str, Any]]) -> None:
    """Writes a CSV whose columns are those of any line; a line that lacks one leaves it empty."""
    lines = list(lines)
    columns = list(dict.fromkeys(column for line in lines for column in line))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(lines)
