"""What a data set declares of its raw columns; the preparation turns it into a `FeatureSchema`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from mtlzoo.schema import Links, Pooling
from mtlzoo.tasks import TaskKind


@dataclass(frozen=True)
class CategoricalColumn:
    """A column whose values are names of things, whatever their type.

    Args:
        name: Raw column.
        min_count: Values seen less often in train become "unknown".
        hash_buckets: Hash values into that many ids instead of keeping a vocabulary; 0 keeps one.
        table: Vocabulary and embedding table shared with every column that names the same; its own if empty.
    """

    name: str
    min_count: int = 1
    hash_buckets: int = 0
    table: str = ""


@dataclass(frozen=True)
class NumericColumn:
    """A column whose values are quantities.

    Args:
        name: Raw column.
        transform: ``standardize`` (mean 0, deviation 1), ``log1p`` (sign(x) log(1 + |x|), then standardised),
            ``minmax`` (to [0, 1], clipped) or ``none``. Statistics come from train only.
        buckets: Cut into that many quantile buckets of train and treat the bucket as a categorical value; 0 does not.

    A missing value becomes the train mean (after the transform: 0, or the mean of ``minmax``), or with `buckets` the
    unknown id.
    """

    name: str
    transform: Literal["standardize", "log1p", "minmax", "none"] = "standardize"
    buckets: int = 0


@dataclass(frozen=True)
class SequenceColumn:
    """A column that holds several ids per row: a list, or text such as ``"12,65"``.

    Args:
        name: Raw column.
        max_length: Ids kept per row.
        separator: Separates the ids where the column is text.
        keep: Which end is kept of a longer list: ``first``, or ``last`` (the newest of a history).
        min_count: Ids seen less often in train become "unknown".
        hash_buckets: As for `CategoricalColumn`.
        table: As for `CategoricalColumn`: a history of items shares the item's table.
        pooling: How a model makes one vector of them.
        target: Categorical column that an ``attention`` pooling compares with.
    """

    name: str
    max_length: int
    separator: str = ","
    keep: Literal["first", "last"] = "first"
    min_count: int = 1
    hash_buckets: int = 0
    table: str = ""
    pooling: Pooling = "mean"
    target: str = ""


Column: TypeAlias = CategoricalColumn | NumericColumn | SequenceColumn


@dataclass(frozen=True)
class Label:
    """A target and where it comes from.

    Args:
        column: Raw column. binary: 0 or 1 (or boolean); regression: a number; multiclass: 0 .. classes-1; multilabel: a
            list, or text joined by `separator`, of class numbers 0 .. classes-1; ranking: 1 for a positive interaction.
            Null means not observed. A link or an alignment has no column: this names it, a link as its links.
        name: Name of the task; the column's if empty.
        kind: See `mtlzoo.tasks.Task`.
        weight: See `mtlzoo.tasks.Task`.
        classes: See `mtlzoo.tasks.Task`.
        observed: Binary raw column that must be 1 for this label to count.
        standardize: For a regression: centre and scale by the mean and deviation of train.
        separator: Separates classes where a multilabel column is text.
    """

    column: str
    name: str = ""
    kind: TaskKind = "binary"
    weight: float = 1.0
    classes: int = 0
    observed: str = ""
    standardize: bool = True
    separator: str = ","


@dataclass(frozen=True)
class TimeSplit:
    """Rows by a column of times, dates or numbers: validation from `val`, test from `test` on.

    Rows before `val` are train. Both bounds are inclusive and are compared in the column's own type. A bound that is
    None says that there is no such split.
    """

    column: str
    val: str | int | float | None
    test: str | int | float | None

    @property
    def needed(self) -> tuple[str, ...]:
        """Splits that must have rows."""
        return _needed(val=self.val is not None and self.val != self.test, test=self.test is not None)


@dataclass(frozen=True)
class RandomSplit:
    """Each row at random: fractions of validation and test; the rest is train."""

    val: float = 0.1
    test: float = 0.1
    seed: int = 0

    @property
    def needed(self) -> tuple[str, ...]:
        """Splits that must have rows."""
        return _needed(val=self.val > 0, test=self.test > 0)


@dataclass(frozen=True)
class UserSplit:
    """The rows of each user in order, or in an order that is drawn: first train, then validation, the last are test.

    Args:
        user: Column of the user.
        order: Column that orders a user's rows; the order in the files if empty.
        val: Fraction of a user's rows for validation.
        test: Fraction of a user's rows for test.
        rounding: Where fractions give no whole rows: ``down`` rounds what is held out, test and validation with test,
            down, so that train is never short; ``up`` rounds it up, so that test never is, and a user with one row has
            it in test.
        seed: Seed of an order that is drawn, for users whose rows have none; None takes that of `order`.
    """

    user: str
    order: str = ""
    val: float = 0.1
    test: float = 0.1
    rounding: Literal["down", "up"] = "down"
    seed: int | None = None

    @property
    def needed(self) -> tuple[str, ...]:
        """Splits that must have rows."""
        return _needed(val=self.val > 0, test=self.test > 0)


@dataclass(frozen=True)
class GivenSplit:
    """A column that holds ``train``, ``val`` or ``test`` (and names of optional extra splits, such as ``random``).

    Args:
        column: Raw column.
        needed: Splits that must have rows; one that is left out may be empty.
    """

    column: str = "split"
    needed: Sequence[str] = ("train", "val", "test")


def _needed(**asked: bool) -> tuple[str, ...]:
    return ("train", *(name for name, there in asked.items() if there))


Split: TypeAlias = TimeSplit | RandomSplit | UserSplit | GivenSplit


@dataclass(frozen=True)
class Recipe:
    """All that the preparation is told of a data set; part of its fingerprint.

    Args:
        columns: Features, in the order the models see them.
        labels: Targets, in the order of the loss vector.
        split: How rows are divided.
        user: Column of the user, if it is a feature.
        item: Column of the item, if it is a feature.
        group: Column by which grouped metrics group; need not be a feature.
        ids: Columns kept as they are, to name the rows of a prediction.
        weight: Column of sample weights (>= 0), or None.
        links: Links that the data bring along, for labels of kind ``link``.
    """

    columns: tuple[Column, ...]
    labels: tuple[Label, ...]
    split: Split = field(default_factory=RandomSplit)
    user: str | None = None
    item: str | None = None
    group: str | None = None
    ids: tuple[str, ...] = ()
    weight: str | None = None
    links: tuple[Links, ...] = ()
