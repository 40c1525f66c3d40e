"""What a finished cell measured, read from its run folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

TESTED = "tested"
"""Folder, in that of a run, of the rows that its test saw."""


@dataclass(frozen=True)
class Result:
    """One cell after its test.

    Args:
        folder: Its run folder: config.yaml, metrics.csv, fit.json, results.json and what its callbacks wrote.
        name: Of what is compared, such as ``MMoE + PCGrad``; cells of one name and data set differ by their seed alone.
        data: Name of the data set, as the comparison calls it.
        model: Name of the model, as the comparison calls it.
        rule: Name of the rule, as the comparison calls it; ``sum`` without one.
        seed: Of weights, draws and the order of rows.
        record: results.json.
        weights: Of the tasks' losses by name, where it is a point of the scalarisation frontier.
    """

    folder: Path
    name: str
    data: str
    model: str
    rule: str
    seed: int
    record: Mapping[str, Any]
    weights: Mapping[str, float] | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """Test metrics by full name, ``test/<task>/<metric>``; those that were undefined are left out."""
        return {name: value for name, value in self.record["metrics"].items() if value is not None}

    @cached_property
    def rows(self) -> pl.DataFrame | None:
        """The rows of test, in order, or None where they were not kept.

        Columns: ``row``; ``user`` (int64, a number per user, by which grouped metrics group) and ``weight`` (float32,
        by which all metrics weigh), both missing where the data know none; per task its output under its name (the
        logit of a binary task, float32; the value of a regression in its label's units, float64; of multiclass and
        multilabel a list of logits) and ``label:<task>`` (float32, or float64 where that told labels apart; NaN where
        not observed; of multilabel a list). Binary logits no further apart than `mtlzoo.metrics.ties.RESOLUTION` count
        as ties in the AUCs of `metrics`.
        """
        parts = sorted((self.folder / TESTED).glob("part-*.parquet"))
        return pl.concat(pl.read_parquet(part) for part in parts).sort("row") if parts else None
