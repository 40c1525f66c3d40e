"""What the preparation computes for a recipe: encoders, tables and, in the end, the schema."""

from collections.abc import Callable, Iterator

from mtlzoo.datamodules.columns import (
    ORIGIN,
    CategoricalColumn,
    Column,
    GivenSplit,
    Label,
    NumericColumn,
    Recipe,
    SequenceColumn,
    TimeSplit,
    UserSplit,
)
from mtlzoo.datamodules.prepare.encoders.base import CategoricalEncoder, Encoder
from mtlzoo.datamodules.prepare.encoders.classes import NamedClassEncoder
from mtlzoo.datamodules.prepare.encoders.labels import GroupEncoder, LabelEncoder, MultilabelEncoder, WeightEncoder
from mtlzoo.datamodules.prepare.encoders.numeric import BucketEncoder, NumericEncoder
from mtlzoo.datamodules.prepare.encoders.sequences import SequenceEncoder
from mtlzoo.datamodules.prepare.encoders.vocabulary import HashTable, Table, Vocabulary
from mtlzoo.schema import FIRST_KNOWN, Categorical, Feature, FeatureSchema, Links, Numeric, Sequence
from mtlzoo.tasks import Task

UNLABELLED = ("link", "alignment")
"""Kinds of label that no column of the rows holds."""


class Plan:
    """Encoders by the file that they write, and the tables that they share.

    Args:
        recipe: Checked here, before any row is read.

    Raises:
        ValueError: A recipe that contradicts itself.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.labels = {label: _label_encoder(label) for label in recipe.labels if label.kind not in UNLABELLED}
        self.provisional()
        if leaks := {column.name for column in recipe.columns} & {label.column for label in recipe.labels}:
            raise ValueError(f"Recipe: {sorted(leaks)} are features and labels at once. Take them out of the features.")
        _check_names(recipe)
        self.tables = _tables(recipe)
        self.features = {column.name: self._encoder(column) for column in recipe.columns}
        self.outputs = self._outputs()
        """Encoders by the prepared column that they fill, side by side."""

    def _encoder(self, column: Column) -> Encoder:
        if isinstance(column, NumericColumn):
            return BucketEncoder(column) if column.buckets else NumericEncoder(column)
        table = self.tables[column.table or column.name]
        if isinstance(column, SequenceColumn):
            return SequenceEncoder(column, table)
        return CategoricalEncoder(column.name, table)

    def _outputs(self) -> dict[str, list[Encoder]]:
        outputs: dict[str, list[Encoder]] = {}
        for name, encoder in self.features.items():
            if isinstance(encoder, SequenceEncoder):
                outputs[name] = [encoder]
            else:
                output = "numeric" if isinstance(encoder, NumericEncoder) else "categorical"
                outputs.setdefault(output, []).append(encoder)
        if not self.recipe.labelled:
            return outputs
        outputs["labels"] = [*self.labels.values()]
        if self.recipe.weight is not None:
            outputs["weight"] = [WeightEncoder(self.recipe.weight)]
        if self.recipe.group is not None:
            outputs["group"] = [GroupEncoder(self.recipe.group)]
        return outputs

    @property
    def given(self) -> bool:
        """Whether nothing is left to learn of train."""
        return all(encoder.given for encoder in (*self.features.values(), *self.labels.values()))

    @property
    def raw_columns(self) -> list[str]:
        """Raw columns that are needed, each once."""
        return list(dict.fromkeys([*self.features, *_other_columns(self.recipe)]))

    @property
    def other_columns(self) -> set[str]:
        """Raw columns that are needed for something else than a feature."""
        return set(_other_columns(self.recipe))

    def table_of(self, links: Links) -> tuple[str, Table]:
        """The raw column of what is linked, and its vocabulary."""
        name = self.recipe.user if links.of == "user" else self.recipe.item
        column = next(column for column in self.recipe.columns if column.name == name)
        assert name is not None
        assert not isinstance(column, NumericColumn)
        return name, self.tables[column.table or name]

    def provisional(self) -> FeatureSchema:
        """The schema as far as it is known before any row is read: tables have no value yet."""
        return self._schema(lambda column: FIRST_KNOWN)

    def schema(self) -> FeatureSchema:
        """The schema, once all encoders and tables are fitted."""

        def cardinality(column: Column) -> int:
            encoder = self.features[column.name]
            if isinstance(encoder, BucketEncoder):
                return encoder.cardinality
            assert not isinstance(column, NumericColumn)
            return self.tables[column.table or column.name].cardinality

        return self._schema(cardinality)

    def _schema(self, cardinality: Callable[[Column], int]) -> FeatureSchema:
        recipe = self.recipe
        return FeatureSchema(
            features=tuple(_feature(column, cardinality) for column in recipe.columns),
            tasks=tuple(
                self.labels[label].task() if label in self.labels else _unlabelled(label) for label in recipe.labels
            ),
            user=recipe.user,
            item=recipe.item,
            group=recipe.group,
            ids=recipe.ids,
            links=recipe.links,
        )


def _check_names(recipe: Recipe) -> None:
    """Refuses names that predictions would have twice, beside those that a schema refuses."""
    tasks = [label.name or label.column for label in recipe.labels]
    if ours := sorted({*ORIGIN.values()} & {recipe.user, recipe.item, *recipe.ids, *tasks}):
        raise ValueError(
            f"Recipe: {ours} is a task, or names rows, and predictions have a column of that name already: the number "
            "of a row in its file, and the file. Rename it (a task: by name= of its label), or leave it out of ids."
        )


def _label_encoder(label: Label) -> LabelEncoder:
    if label.kind == "multiclass" and not label.classes:
        return NamedClassEncoder(label)
    return MultilabelEncoder(label) if label.kind == "multilabel" else LabelEncoder(label)


def _unlabelled(label: Label) -> Task:
    return Task(label.name or label.column, label.kind, label.weight)


def _feature(column: Column, cardinality: Callable[[Column], int]) -> Feature:
    if isinstance(column, CategoricalColumn):
        return Categorical(column.name, cardinality(column), column.table)
    if isinstance(column, NumericColumn):
        return Categorical(column.name, cardinality(column)) if column.buckets else Numeric(column.name)
    return Sequence(column.name, cardinality(column), column.max_length, column.table, column.pooling, column.target)


def _tables(recipe: Recipe) -> dict[str, Table]:
    declared: dict[str, tuple[int, int]] = {}
    bucketed = {column.name for column in recipe.columns if isinstance(column, NumericColumn) and column.buckets}
    for column in recipe.columns:
        if isinstance(column, NumericColumn):
            continue
        table, options = column.table or column.name, (column.min_count, column.hash_buckets)
        if table in bucketed:
            raise ValueError(f"Recipe: {column.name!r} cannot share table {table!r}, which holds quantile buckets.")
        if declared.setdefault(table, options) != options:
            raise ValueError(
                f"Recipe: {column.name!r} with min_count={options[0]}, hash_buckets={options[1]} shares table "
                f"{table!r} with columns that have {declared[table][0]} and {declared[table][1]}. Make them equal."
            )
    return {name: HashTable(buckets) if buckets else Vocabulary(least) for name, (least, buckets) in declared.items()}


def _other_columns(recipe: Recipe) -> Iterator[str]:
    for label in recipe.labels if recipe.labelled else ():
        if label.kind not in UNLABELLED:
            yield label.column
        if label.observed:
            yield label.observed
    if isinstance(recipe.split, TimeSplit | GivenSplit):
        yield recipe.split.column
    if isinstance(recipe.split, UserSplit):
        yield from filter(None, (recipe.split.user, recipe.split.order))
    if recipe.labelled:
        yield from filter(None, (recipe.group, recipe.weight))
    yield from (*recipe.ids, *recipe.origin)
