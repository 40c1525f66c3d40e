"""What a model knows of a data set: features, tasks and the columns that identify a row.

A `FeatureSchema` is frozen and plain. It travels as a dictionary (`to_dict`, `from_dict`), so checkpoints that hold
one load with ``torch.load(..., weights_only=True)`` in a process that never imported mtlzoo.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from mtlzoo.options import Range, check_options
from mtlzoo.tasks import VECTOR_KINDS, Task

PADDING = 0
"""Id of "nothing here": fills the end of sequences; its embedding is zero and never trained."""
UNKNOWN = 1
"""Id of every value that the training split did not show often enough."""
FIRST_KNOWN = 2
"""Smallest id of a vocabulary entry."""

Name: TypeAlias = Annotated[str, Range(1)]
Pooling: TypeAlias = Literal["mean", "sum", "max", "attention"]
Batch: TypeAlias = Mapping[str, Any]
"""Tensors with the batch first. Keys: ``categorical`` int [B, F], ``numeric`` float [B, N], one int [B, L] per sequence
under the feature's own name, ``labels`` float [B, W] (NaN = not observed), and where the data has them ``weight``
float [B], ``group`` int [B] and ``row`` int [B] (position in the split). In training, where a task is a ranking or a
link, ``negative`` int [B, N] (items that the row's user has no positive interaction with) and, under the name of the
links, int [B, 3] (anchor, partner that it is linked with, another that it is not; 0 where there is none). Where a
ranking is evaluated, batches of users: ``user`` int [B], ``relevant`` int [B, R] (items to find, padded with 0) and
``seen`` int [B, S] (items of train, which are left out; padded with 0)."""

RESERVED = frozenset({"categorical", "numeric", "labels", "weight", "group", "row", "negative", "relevant"})
"""Batch keys that no sequence feature or link may use as its name."""


@dataclass(frozen=True)
class Categorical:
    """One id per row.

    Args:
        name: Column name.
        cardinality: Number of ids, padding (0) and unknown (1) included; ids are in [0, cardinality).
        table: Embedding table it looks up; its own name if empty. Features that name one table share it.
    """

    name: Name
    cardinality: Annotated[int, Range(FIRST_KNOWN, 2**31 - 1)]
    table: str = ""
    kind: Literal["categorical"] = "categorical"

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class Numeric:
    """One number per row, already transformed by the preparation (missing values filled)."""

    name: Name
    kind: Literal["numeric"] = "numeric"

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class Sequence:
    """Up to `max_length` ids per row, padded at the end with 0: tags, histories.

    Args:
        name: Column name, and the key of its tensor in the batch.
        cardinality: Number of ids, padding and unknown included.
        max_length: Ids kept per row.
        table: Embedding table it looks up; its own name if empty.
        pooling: How the ids become one vector. ``attention`` scores each id against `target` (DIN, KDD 2018).
        target: Categorical feature that an ``attention`` pooling compares with.
    """

    name: Name
    cardinality: Annotated[int, Range(FIRST_KNOWN, 2**31 - 1)]
    max_length: Annotated[int, Range(1)]
    table: str = ""
    pooling: Pooling = "mean"
    target: str = ""
    kind: Literal["sequence"] = "sequence"

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class Links:
    """Which users, or which items, belong together: friends, the same category, bought together.

    Args:
        name: Name, and the key of their draws in the batch; a task of kind ``link`` has the same.
        of: What is linked: the schema's ``user`` or its ``item``.
    """

    name: Name
    of: Literal["user", "item"]

    def __post_init__(self) -> None:
        check_options(self)


Feature: TypeAlias = Categorical | Numeric | Sequence
_KINDS: dict[str, type[Categorical] | type[Numeric] | type[Sequence]] = {
    "categorical": Categorical,
    "numeric": Numeric,
    "sequence": Sequence,
}


@dataclass(frozen=True)
class FeatureSchema:
    """The only thing a model knows of a data set.

    Args:
        features: Inputs, in the order of their columns in the batch.
        tasks: What is predicted, in the order of the loss vector.
        user: Name of the categorical feature that is the user, if there is one.
        item: Name of the categorical feature that is the item, if there is one.
        group: Raw column by which grouped metrics (GAUC) group rows; batches then carry ``group``.
        ids: Raw columns that identify a row in predictions.
        links: Links that the tasks of kind ``link`` predict, one each.

    Raises:
        ValueError: A value that its annotation does not allow, duplicate names, shared tables of unequal size, an
            unknown attention target, no task, a task that compares vectors of users and items that are not there, or of
            links that are not.
    """

    features: tuple[Feature, ...]
    tasks: tuple[Task, ...]
    user: Name | None = None
    item: Name | None = None
    group: Name | None = None
    ids: tuple[Name, ...] = field(default=())
    links: tuple[Links, ...] = field(default=())

    def __post_init__(self) -> None:
        check_options(self)
        _unique("feature", [f.name for f in self.features])
        _unique("task", [t.name for t in self.tasks])
        if not self.tasks:
            raise ValueError("FeatureSchema: no task; a model needs at least one.")
        links = [link.name for link in self.links]
        check_names(
            [s.name for s in self.sequences], [t.name for t in self.tasks], links, (self.user, self.item, *self.ids)
        )
        categorical = {f.name for f in self.categorical}
        for name, role in ((self.user, "user"), (self.item, "item")):
            if name is not None and name not in categorical:
                raise ValueError(
                    f"FeatureSchema: {role}={name!r} is not one of the categorical features {sorted(categorical)}."
                )
        for sequence in self.sequences:
            if sequence.pooling == "attention" and sequence.target not in categorical:
                raise ValueError(
                    f"Sequence {sequence.name!r}: pooling='attention' needs target= one of {sorted(categorical)}, "
                    f"found {sequence.target!r}."
                )
        self._check_vectors()
        self.tables  # noqa: B018  (evaluated for its check of shared tables)

    def __repr__(self) -> str:
        """Numbers of features by kind, tasks with their kinds, and the columns with a role: one line."""
        kinds = {"categorical": self.categorical, "numeric": self.numeric, "sequences": self.sequences}
        parts = [f"{len(features)} {kind}" for kind, features in kinds.items() if features]
        parts.append("tasks: " + ", ".join(f"{task.name} ({task.kind})" for task in self.tasks))
        roles = {"user": self.user, "item": self.item, "group": self.group}
        parts += [f"{role}: {name}" for role, name in roles.items() if name is not None]
        return f"FeatureSchema({'; '.join(parts)})"

    def _check_vectors(self) -> None:
        """What tasks that compare vectors of users and items need."""
        _unique("links", [link.name for link in self.links])
        known = {link.name for link in self.links}
        for task in self.tasks:
            if task.kind in VECTOR_KINDS and (self.user is None or self.item is None):
                raise ValueError(
                    f"Task {task.name!r} of kind {task.kind!r} needs a user and an item; found user={self.user!r}, "
                    f"item={self.item!r}."
                )
            if task.kind == "link" and task.name not in known:
                raise ValueError(f"Task {task.name!r}: no links of that name; there are {sorted(known)}.")

    @property
    def categorical(self) -> tuple[Categorical, ...]:
        """Categorical features, in the column order of ``batch["categorical"]``."""
        return tuple(f for f in self.features if isinstance(f, Categorical))

    @property
    def numeric(self) -> tuple[Numeric, ...]:
        """Numeric features, in the column order of ``batch["numeric"]``."""
        return tuple(f for f in self.features if isinstance(f, Numeric))

    @property
    def sequences(self) -> tuple[Sequence, ...]:
        """Sequence features."""
        return tuple(f for f in self.features if isinstance(f, Sequence))

    @property
    def tables(self) -> dict[str, int]:
        """Rows of each embedding table, by table name, in order of first use."""
        rows: dict[str, int] = {}
        for feature in self.features:
            if isinstance(feature, Numeric):
                continue
            table = feature.table or feature.name
            if rows.setdefault(table, feature.cardinality) != feature.cardinality:
                raise ValueError(
                    f"Table {table!r} is shared by features of {rows[table]} and {feature.cardinality} ids; "
                    "features that share a table share one vocabulary."
                )
        return rows

    @property
    def label_columns(self) -> Iterator[tuple[Task, slice]]:
        """Each task with its columns in ``batch["labels"]``."""
        start = 0
        for task in self.tasks:
            yield task, slice(start, start + task.label_width)
            start += task.label_width

    def to_dict(self) -> dict[str, Any]:
        """The schema as plain lists, dictionaries, strings and numbers."""
        plain = asdict(self)
        lists = ("features", "tasks", "ids", "links")
        return plain | {name: list(plain[name]) for name in lists}

    @classmethod
    def from_dict(cls, plain: "Mapping[str, Any] | FeatureSchema") -> "FeatureSchema":
        """The schema that `to_dict` wrote; a schema is returned as it is."""
        if isinstance(plain, FeatureSchema):
            return plain
        features = tuple(_KINDS[feature["kind"]](**feature) for feature in plain["features"])
        tasks = tuple(Task(**task) for task in plain["tasks"])
        links = tuple(Links(**link) for link in plain.get("links", ()))
        return cls(**{**plain, "features": features, "tasks": tasks, "links": links})


def check_names(
    sequences: Iterable[str], tasks: Iterable[str], links: Iterable[str], identifying: Iterable[str | None]
) -> None:
    """Refuses names that would meet others in a batch or among the columns of the predictions.

    Args:
        sequences: Names of the sequence features.
        tasks: Names of the tasks.
        links: Names of the links.
        identifying: Names of the columns that stand beside the predictions.

    Raises:
        ValueError: The first such name, and what it would meet.
    """
    sequences = list(sequences)
    for what, names in (("a sequence", sequences), ("links", links)):
        for name in names:
            if name in RESERVED:
                raise ValueError(
                    f"FeatureSchema: {what} may not be named {name!r}, a key of batches. Rename it; reserved names are "
                    f"{sorted(RESERVED)}."
                )
            if what == "links" and name in sequences:
                raise ValueError(f"FeatureSchema: links and a sequence are both named {name!r}. Rename one of them.")
    taken = {"row": "the number of the row", **{name: "a column that names rows" for name in identifying if name}}
    for name in tasks:
        if "/" in name:
            raise ValueError(
                f"Task name {name!r}: must not be empty and must not hold '/', which separates metric names."
            )
        if name in taken:
            raise ValueError(
                f"FeatureSchema: a task may not be named {name!r}, as {taken[name]} has that name in predictions. Give "
                "the task another: name= of its Label, or of the label in a schema file."
            )


def _unique(what: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"FeatureSchema: {what} names occur more than once: {twice}.")
