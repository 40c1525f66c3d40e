"""What the cells of one data set measured, seed by seed, and what it is on every draw of the users of test."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import polars as pl
import torch

from mtlzoo.compare.leaderboard.resampled import Drawn, drawn
from mtlzoo.compare.leaderboard.threads import in_threads
from mtlzoo.compare.results import Result
from mtlzoo.compare.statistics.resample import draw_users
from mtlzoo.compare.statistics.sample import Sample
from mtlzoo.metrics.direction import MAIN, main_metric

COMPARED = (*MAIN, "gauc_impressions", "logloss")
"""Metrics that are compared; of `MAIN` the one that stands for the task."""
TOLERANCE = 2e-6
"""Kept rows and results.json may be apart by so much: an AUC of more than a million rows is certain to 1e-6."""

Samples: TypeAlias = dict[str, Sample]


@dataclass(frozen=True)
class Measured:
    """One data set.

    Args:
        samples: By metric, task and contender; contenders without a value are left out.
        main: Main metric of every task.
        notes: Sentences on what is not known.
    """

    samples: Mapping[str, Mapping[str, Samples]]
    main: Mapping[str, str]
    notes: tuple[str, ...]


def measured(results: Sequence[Result], draws: int, seed: int) -> Measured:
    """Reads the rows of the cells of one data set.

    Args:
        results: Cells that differ by contender and seed.
        draws: Draws of the users.
        seed: Of the draws.
    """
    names = [tuple(name.split("/")[1:]) for result in results for name in result.metrics if name.count("/") == 2]
    found = {task: {name[1] for name in names if name[0] == task} for task in dict.fromkeys(name[0] for name in names)}
    main = {task: metric for task, has in found.items() if (metric := main_metric(has)) is not None}
    shown = [(task, m) for m in COMPARED for task in main if m in found[task] and (m == main[task] or m not in MAIN)]
    users = _Users(results, draws, seed)
    made = in_threads(lambda result: {pair: users.draws(result, *pair) for pair in shown}, results)
    samples: dict[str, dict[str, Samples]] = {}
    for task, metric in shown:
        name = f"test/{task}/{metric}"
        cells = [
            (r, d[task, metric])
            for r, d in zip(results, made, strict=True)
            if r.record["metrics"].get(name) is not None
        ]
        contenders = dict.fromkeys(result.name for result, _ in cells)
        samples.setdefault(metric, {})[task] = {
            name: _sample([cell for cell in cells if cell[0].name == name], f"test/{task}/{metric}")
            for name in contenders
        }
    return Measured(samples, main, users.told())


def _sample(cells: Sequence[tuple[Result, Drawn | None]], metric: str) -> Sample:
    cells = sorted(cells, key=lambda cell: cell[0].seed)
    seeds = tuple(result.seed for result, _ in cells)
    values = np.array([result.record["metrics"][metric] for result, _ in cells])
    known = [d for _, d in cells if d is not None]
    if len(known) < len(cells):
        return Sample(seeds, values)
    return Sample(seeds, values, np.stack([d for d, _ in known]), min(number for _, number in known))


class _Users:
    """The users of the rows of test, drawn once for all cells."""

    def __init__(self, results: Sequence[Result], draws: int, seed: int) -> None:
        self.notes: list[str] = []
        self.without: Counter[tuple[str, str]] = Counter()
        self.rows = next((r.rows for r in results if r.rows is not None), None)
        if self.rows is None:
            self.notes.append("No rows of test were kept: intervals are over seeds alone.")
            return
        known = "user" in self.rows.columns
        if not known:
            self.notes.append("The data know no users: every row counts as a user of its own.")
        ids = self.rows["user" if known else "row"].to_numpy()
        self.places = np.unique(ids, return_inverse=True)[1]
        self.number = int(self.places.max()) + 1
        as_they_are = torch.ones(self.number, 1, dtype=torch.float64)
        self.weights = [as_they_are, *draw_users(self.number, draws, seed)]

    def draws(self, result: Result, task: str, metric: str) -> Drawn | None:
        """A metric on every draw, where the rows of the cell tell it."""
        rows, name = result.rows, f"test/{task}/{metric}"
        expected = result.record["metrics"].get(name)
        if rows is None or self.rows is None or expected is None or task not in rows.columns:
            return None
        if not self._same(rows, task):
            self.without[name, "were kept of other rows than the rest"] += 1
            return None
        made = drawn(metric, rows, task, self.places, self.weights)
        if made is None:
            return None
        values, users = made
        if not abs(values[0] - expected) <= TOLERANCE * max(1.0, abs(values[0])):
            self.without[name, "do not give what results.json has"] += 1
            return None
        return values[1:], users

    def told(self) -> tuple[str, ...]:
        """What is not known of users, in sentences."""
        counted = sorted(self.without.items())
        return (*self.notes, *(f"{name}: the rows of {n} cells {why}; over seeds alone." for (name, why), n in counted))

    def _same(self, rows: pl.DataFrame, task: str) -> bool:
        assert self.rows is not None
        columns = [c for c in ("user", f"label:{task}") if c in self.rows.columns]
        return rows is self.rows or all(rows[c].equals(self.rows[c]) for c in columns)
