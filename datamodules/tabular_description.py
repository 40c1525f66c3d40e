"""Columns, labels and splits described by names and plain mappings, as in YAML; every typo is answered."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import yaml
from typing_extensions import override

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
from mtlzoo.options import refuse_unknown

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
        ValueError: No YAML, not a mapping, a key that is not `allowed`, or one that a mapping has twice.
    """
    if not path.is_file():
        raise DatasetNotFoundError(f"{path}: no such schema_file; it is looked for relative to root=.")
    try:
        described = yaml.load(path.read_text(encoding="utf-8"), _OnceLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML in UTF-8 ({' '.join(str(error).split())}). Correct it.") from None
    if not isinstance(described, dict):
        raise ValueError(
            f"{path}: holds {type(described).__name__}; allowed is a mapping with keys of {list(allowed)}."
        )
    for name in described:
        refuse_unknown(name, allowed, f"{path}: key")
    return described


class _OnceLoader(yaml.SafeLoader):
    """A safe loader that refuses what PyYAML takes in silence: of a key that comes twice, the last one."""

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[Any, yaml.Node] = {}
        for key_node, _ in node.value:
            key = (key_node.tag, key_node.value) if isinstance(key_node, yaml.ScalarNode) else key_node
            if first.setdefault(key, key_node) is not key_node:
                raise yaml.constructor.ConstructorError(
                    f"the key {key_node.value!r} occurs twice, first",
                    first[key].start_mark,
                    "then",
                    key_node.start_mark,
                )
        return super().construct_mapping(node, deep)


def by_column(name: str, described: object) -> dict[str, Any]:
    """Features or labels, as a mapping of columns to what each is.

    Raises:
        ValueError: No mapping, or names of columns that are no text.
    """
    example = (
        f"{name}: {{user_id: categorical, price: numeric}}" if name == "features" else f"{name}: {{click: binary}}"
    )
    if not isinstance(described, Mapping):
        raise ValueError(
            f"{name} is {described!r}; allowed is a mapping of each column to what it is, such as {example}."
        )
    for column in described:
        if not isinstance(column, str):
            raise ValueError(
                f"{name}: column {column!r} is of type {type(column).__name__}; names of columns are texts. In YAML "
                "write them in quotes; of a pandas table first set frame.columns = frame.columns.astype(str)."
            )
    return dict(described)


def parse_column(name: str, described: Described) -> Column:
    """A feature from its column and description.

    Raises:
        ValueError: An unknown kind or option, or one that is missing.
    """
    kind, options = _kind(COLUMNS, f"features.{name}", described)
    return _made(kind, f"features.{name}", {"name": name, **options})


def parse_label(name: str, described: Described) -> Label:
    """A target from its column and description; errors as for `parse_column`."""
    options = _options(f"labels.{name}", described)
    refuse_unknown(options.get("kind", "binary"), LABELS, f"kind of labels.{name}")
    return _made(Label, f"labels.{name}", {"column": name, **options})


def parse_split(described: Described) -> Split:
    """A split from its description; errors as for `parse_column`."""
    kind, options = _kind(SPLITS, "split", described)
    return _made(kind, "split", options)


def _options(at: str, described: Described) -> dict[str, Any]:
    if not isinstance(described, str | Mapping):
        raise ValueError(
            f"{at} is {described!r}; allowed is a kind, such as 'categorical', or a mapping of kind and options."
        )
    return {"kind": described} if isinstance(described, str) else dict(described)


def _kind(kinds: Mapping[str, type[T]], at: str, described: Described) -> tuple[type[T], dict[str, Any]]:
    options = _options(at, described)
    kind = options.pop("kind", None)
    if kind is None:
        raise ValueError(f"{at} has no kind; allowed are {list(kinds)}.")
    refuse_unknown(kind, list(kinds), f"kind of {at}")
    return kinds[kind], options


def _made(kind: type[T], at: str, options: Mapping[str, Any]) -> T:
    allowed = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in options:
        refuse_unknown(name, allowed, f"option of {at}")
    try:
        return kind(**options)
    except TypeError as error:  # options that are missing
        raise ValueError(f"{at}: {error}.") from error
    except ValueError as error:
        raise ValueError(f"{at}: {error}") from error
