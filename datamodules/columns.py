"""What a data set declares of its raw columns; the preparation turns it into a `FeatureSchema`."""

from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

import polars as pl

from mtlzoo.datamodules.splits import FILE_SPLIT as FILE_SPLIT
from mtlzoo.datamodules.splits import GivenSplit as GivenSplit
from mtlzoo.datamodules.splits import RandomSplit as RandomSplit
from mtlzoo.datamodules.splits import Split as Split
from mtlzoo.datamodules.splits import TimeSplit as TimeSplit
from mtlzoo.datamodules.splits import UserSplit as UserSplit
from mtlzoo.datamodules.values.names import file_stem
from mtlzoo.datamodules.values.truths import FALSE, TRUE, plain_words
from mtlzoo.options import Declared, Range
from mtlzoo.schema import FIRST_KNOWN, Links, Name, Pooling, check_names
from mtlzoo.tasks import TaskKind, Weight

Count: TypeAlias = Annotated[int, Range(1, 2**31 - 1)]
Buckets: TypeAlias = Annotated[int, Range(0, 2**31 - 1 - FIRST_KNOWN)]


@dataclass(frozen=True)
class CategoricalColumn(Declared):
    """A column whose values are names of things, whatever their type.

    Args:
        name: Raw column.
        min_count: Values seen less often in train become "unknown".
        hash_buckets: Hash values into that many ids instead of keeping a vocabulary; 0 keeps one.
        table: Vocabulary and embedding table shared with every column that names the same; its own if empty.
    """

    name: Name
    min_count: Count = 1
    hash_buckets: Buckets = 0
    table: str = ""


@dataclass(frozen=True)
class NumericColumn(Declared):
    """A column whose values are quantities.

    Args:
        name: Raw column.
        transform: ``standardize`` (mean 0, deviation 1), ``log1p`` (sign(x) log(1 + |x|), then standardised),
            ``minmax`` (to [0, 1], clipped) or ``none``. Statistics come from train only.
        buckets: Cut into that many quantile buckets of train and treat the bucket as a categorical value; 0 does not.

    A missing value becomes the train mean (after the transform: 0, or the mean of ``minmax``), or with `buckets` the
    unknown id.
    """

    name: Name
    transform: Literal["standardize", "log1p", "minmax", "none"] = "standardize"
    buckets: Buckets = 0


@dataclass(frozen=True)
class SequenceColumn(Declared):
    """A column that holds several ids per row: a list, or text such as ``"12,65"``.

    Args:
        name: Raw column.
        max_length: Ids kept per row; the others are left out.
        separator: Separates the ids where the column is text.
        keep: Which end is kept of a longer list: ``first``, or ``last`` (the newest of a history).
        min_count: Ids seen less often in train become "unknown".
        hash_buckets: As for `CategoricalColumn`.
        table: As for `CategoricalColumn`: a history of items shares the item's table.
        pooling: How a model makes one vector of them.
        target: Categorical column that an ``attention`` pooling compares with.
    """

    name: Name
    max_length: Count = 50
    separator: Name = ","
    keep: Literal["first", "last"] = "first"
    min_count: Count = 1
    hash_buckets: Buckets = 0
    table: str = ""
    pooling: Pooling = "mean"
    target: str = ""


Column: TypeAlias = CategoricalColumn | NumericColumn | SequenceColumn


@dataclass(frozen=True)
class Label(Declared):
    """A target and where it comes from.

    Args:
        column: Raw column. binary: 0 or 1, a boolean, or yes and no (see `true_values`); regression: a number;
            multiclass: 0 .. classes-1, or names (see `class_names`); multilabel: a list, or text joined by
            `separator`, of class numbers 0 .. classes-1 (``[]`` is none of them); ranking: 1 for a positive
            interaction. Null and the empty text mean not observed. A link or an alignment has no column: this names
            it, a link as its links.
        name: Name of the task; the column's if empty.
        kind: See `mtlzoo.tasks.Task`.
        weight: See `mtlzoo.tasks.Task`.
        classes: See `mtlzoo.tasks.Task`. Of a multiclass label whose column holds names: none.
        class_names: Names of the classes of a multiclass label, in their order; without `classes` and these they are
            the distinct values of train.
        observed: Binary raw column that must be 1 for this label to count.
        standardize: For a regression: centre and scale by the mean and deviation of train.
        separator: Separates classes where a multilabel column is text.
        true_values: For a binary column and for `observed`: texts that stand for 1, in these letters; ``1``, ``true``,
            ``t``, ``yes`` and ``y``, in capitals or not, if empty.
        false_values: As `true_values`, for 0: ``0``, ``false``, ``f``, ``no`` and ``n`` if empty.
    """

    column: Name
    name: str = ""
    kind: TaskKind = "binary"
    weight: Weight = 1.0
    classes: Annotated[int, Range(0)] = 0
    observed: str = ""
    class_names: tuple[Name, ...] = ()
    standardize: bool = True
    separator: Name = ","
    true_values: tuple[str, ...] = ()
    false_values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.true_values + self.false_values
        if given and self.kind != "binary" and not self.observed:
            raise ValueError(f"Label {self.column!r}: true_values and false_values are of binary columns; drop them.")
        named = self.class_names
        if named and (self.kind != "multiclass" or self.classes or len(set(named)) < len(named)):
            raise ValueError(
                f"Label {self.column!r}: class_names={named!r} with kind {self.kind!r} and classes={self.classes}; "
                "allowed are different names, for a multiclass label without classes."
            )
        if not given:  # polars must not start its threads while labels of data sets are imported
            return
        words = (self.true_values or TRUE, self.false_values or FALSE)
        yes, no = (set(plain_words(pl.Series(each, dtype=pl.String))) for each in words)
        if both := yes & no:
            raise ValueError(f"Label {self.column!r}: {sorted(both)} stand for 1 and for 0. Give both lists, apart.")


ORIGIN = {"number of the row": "row", "file of the row": "row_file"}
"""Names in predictions of the columns that say where a row is from: its number in its file, from 0, and the file."""


@dataclass(frozen=True)
class Recipe(Declared):
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
        origin: Columns that `read` adds to say where a row is from, of the keys of `ORIGIN`; kept for predictions.
        labelled: Whether the rows have labels, weights and groups; those to predict need none.
    """

    columns: tuple[Column, ...]
    labels: tuple[Label, ...]
    split: Split = field(default_factory=RandomSplit)
    user: Name | None = None
    item: Name | None = None
    group: Name | None = None
    ids: tuple[Name, ...] = ()
    weight: Name | None = None
    links: tuple[Links, ...] = ()
    origin: tuple[str, ...] = ()
    labelled: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        sequences = [column.name for column in self.columns if isinstance(column, SequenceColumn)]
        tasks = [label.name or label.column for label in self.labels]
        check_names(sequences, tasks, [link.name for link in self.links], (self.user, self.item, *self.ids))
        tables = [column.table for column in self.columns if not isinstance(column, NumericColumn)]
        others = (*tasks, *(label.column for label in self.labels), *self.ids, self.group or "", self.weight or "")
        raw = {
            *(column.name for column in self.columns),
            *(label.column for label in self.labels),
            *self.ids,
            self.group,
            self.weight,
        }
        if taken := sorted({*ORIGIN, FILE_SPLIT} & raw):
            raise ValueError(
                f"Recipe: columns {taken} are called as what is noted of each row while it is read. Rename them."
            )
        for name in (*(column.name for column in self.columns), *tables, *others):
            file_stem(name)  # refuses names that nothing can be called by
