"""Columns, labels and splits described by names and plain mappings, as in YAML; every typo is answered."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import yaml

from mtlzoo.datamodules.columns import (
    CategoricalColumn,
    Column,
    GivenSplit,
    Label,
    NumericColumn,
    RandomSplit,
    SequenceColumn,
    Split,
    TimeSplit,
    UserSplit,
)
from mtlzoo.datamodules.errors import DatasetNotFoundError

COLUMNS: dict[str, type[Column]] = {
    "categorical": CategoricalColumn,
    "numeric": NumericColumn,
    "sequence": SequenceColumn,
}
LABELS = ("binary", "regression", "multiclass", "multilabel")
SPLITS: dict[str, type[Split]] = {"time": TimeSplit, "random": RandomSplit, "user": UserSplit, "column": GivenSplit}

Described: TypeAlias = str | Mapping[str, Any]
"""A kind, or a mapping of ``kind`` and the options of the class that it stands for."""
T = TypeVar("T")


def load_description(path: Path, *, allowed: Sequence[str]) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        DatasetNotFoundError: No such file.
        ValueError: Not a mapping, or a key that is not `allowed`.
    """
    if not path.is_file():
        raise DatasetNotFoundError(f"{path}: no such schema_file; it is looked for relative to root=.")
    described = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(described, dict):
        raise ValueError(
            f"{path}: holds {type(described).__name__}; allowed is a mapping with keys of {list(allowed)}."
        )
    for name in described:
        _check_known(name, allowed, f"{path}: key")
    return described


def parse_column(name: str, described: Described) -> Column:
    """A feature from its column and description.

    Raises:
        ValueError: An unknown kind or option, or one that is missing.
    """
    kind, options = _kind(COLUMNS, f"features.{name}", described)
    return _made(kind, f"features.{name}", {"name": name, **options})


def parse_label(name: str, described: Described) -> Label:
    """A target from its column and description; errors as for `parse_column`."""
    options = {"kind": described} if isinstance(described, str) else dict(described)
    _check_known(options.get("kind", "binary"), LABELS, f"kind of labels.{name}")
    return _made(Label, f"labels.{name}", {"column": name, **options})


def parse_split(described: Described) -> Split:
    """A split from its description; errors as for `parse_column`. Dates, which YAML knows, become ISO text."""
    kind, options = _kind(SPLITS, "split", described)
    plain = {name: value.isoformat() if isinstance(value, date) else value for name, value in options.items()}
    return _made(kind, "split", plain)


def _kind(kinds: Mapping[str, type[T]], at: str, described: Described) -> tuple[type[T], dict[str, Any]]:
    options = {"kind": described} if isinstance(described, str) else dict(described)
    kind = options.pop("kind", None)
    if kind is None:
        raise ValueError(f"{at} has no kind; allowed are {list(kinds)}.")
    _check_known(kind, list(kinds), f"kind of {at}")
    return kinds[kind], options


def _made(kind: type[T], at: str, options: Mapping[str, Any]) -> T:
    allowed = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in options:
        _check_known(name, allowed, f"option of {at}")
    try:
        return kind(**options)
    except TypeError as error:
        raise ValueError(f"{at}: {error}.") from error


def _check_known(name: str, allowed: Sequence[str], what: str) -> None:
    if name in allowed:
        return
    close = get_close_matches(str(name), allowed, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"{what} {name!r} is unknown; allowed are {list(allowed)}.{hint}")
