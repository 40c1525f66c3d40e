"""What a preparation says of itself: rows, label rates, unknown rates, versions."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from mtlzoo.schema import PADDING, UNKNOWN, FeatureSchema
from mtlzoo.tasks import Task

Sums = npt.NDArray[np.float64]


class Rates:
    """Sums over the rows of each split from which the rates of labels and unknown ids follow.

    Args:
        schema: Names the columns.
    """

    def __init__(self, schema: FeatureSchema) -> None:
        self.schema = schema
        self.sums: dict[str, dict[tuple[str, str], Sums]] = {}
        """By split and name: sums of a label's columns, or number of unknown ids; then the number of rows or ids."""

    def add(self, split: str, file: str, columns: Sequence[npt.NDArray[Any]]) -> None:
        """Takes in encoded rows of a split: the columns of one file, in the schema's order."""
        if file == "labels":
            labelled = [task for task in self.schema.tasks if task.label_width]
            for task, labels in zip(labelled, columns, strict=True):
                self._add_labels(split, task, labels)
        elif file == "categorical":
            for feature, ids in zip(self.schema.categorical, columns, strict=True):
                self._add(split, ("feature", feature.name), np.count_nonzero(ids == UNKNOWN), len(ids))
        elif file in {sequence.name for sequence in self.schema.sequences}:
            (ids,) = columns
            self._add(split, ("feature", file), np.count_nonzero(ids == UNKNOWN), np.count_nonzero(ids != PADDING))

    def labels(self) -> dict[str, dict[str, Any]]:
        """By split and task: mean of the observed labels; per class for multiclass and multilabel, by its name."""
        labelled = [task for task in self.schema.tasks if task.label_width]
        return {
            split: {
                task.name: _named(task, _means(sums[key])) for task in labelled if (key := ("label", task.name)) in sums
            }
            for split, sums in self.sums.items()
        }

    def unknown(self) -> dict[str, dict[str, Any]]:
        """By split and feature: share of ids that are unknown."""
        schema = self.schema
        names = [feature.name for feature in schema.categorical] + [sequence.name for sequence in schema.sequences]
        return {split: {name: _means(sums["feature", name]) for name in names} for split, sums in self.sums.items()}

    def _add_labels(self, split: str, task: Task, labels: npt.NDArray[np.float32]) -> None:
        observed = ~np.isnan(labels[:, 0]) if labels.dtype.kind == "f" else np.ones(len(labels), np.bool_)
        sums: npt.ArrayLike
        if task.kind == "multiclass":
            sums = np.bincount(labels[observed, 0].astype(np.int64), minlength=task.classes)
        elif task.kind in ("binary", "multilabel", "ranking"):
            sums = np.count_nonzero(labels == 1, axis=0)
        else:
            sums = np.nansum(labels, dtype=np.float64)
        self._add(split, ("label", task.name), sums, np.count_nonzero(observed))

    def _add(self, split: str, name: tuple[str, str], amounts: npt.ArrayLike, count: npt.ArrayLike) -> None:
        sums = self.sums.setdefault(split, {})
        sums[name] = sums.get(name, 0) + np.append(amounts, count).astype(np.float64)


def account(manifest: Mapping[str, Any]) -> str:
    """Rows read, kept by split, dropped by reason and not found by table, in one line."""
    kept, dropped = sum(manifest["rows"].values()), sum(manifest["dropped"].values())
    splits = ", ".join(f"{split} {rows:,}" for split, rows in manifest["rows"].items())
    reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in manifest["dropped"].items())
    line = f"{kept + dropped:,} rows read, {kept:,} kept ({splits}), {dropped:,} dropped"
    line += f" ({reasons})" if reasons else ""
    missed = [f"{table} {lost['rows']:,} of {lost['of']:,}" for table, lost in manifest["missed"].items()]
    return line + (f"; not found in {', '.join(missed)}" if missed else "")


def versions() -> dict[str, str]:
    """Versions of what made the prepared data."""
    packages = ("mtlzoo", "numpy", "polars", "pyarrow")
    return {package: version(package) for package in packages} | {"python": platform.python_version()}


def _named(task: Task, rates: float | list[float] | None) -> Any:
    return dict(zip(task.class_names, rates, strict=True)) if isinstance(rates, list) and task.class_names else rates


def _means(sums: Sums) -> float | list[float] | None:
    """Sums over their count, which comes last; None where there is nothing to divide by."""
    if not sums[-1]:
        return None
    means = [round(float(mean), 6) for mean in sums[:-1] / sums[-1]]
    return means if len(means) > 1 else means[0]
