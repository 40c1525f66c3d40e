"""What a preparation learned of train, saved: other rows are encoded by it as those of the training were."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from mtlzoo.datamodules.columns import Column, Label, Recipe
from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.prepare.encoders.vocabulary import HashTable, Table, Vocabulary
from mtlzoo.datamodules.prepare.plan import Plan
from mtlzoo.datamodules.prepare.storage import sync, write_json
from mtlzoo.datamodules.tabular_description import COLUMNS
from mtlzoo.datamodules.values.names import file_stem
from mtlzoo.schema import FeatureSchema, Links

FILE = "encoding.json"
_ROLES = ("user", "item", "group", "ids", "weight")
_SLICE = 1 << 20


class Encoding:
    """The encoding of a finished preparation: in the prepared folder, or in a copy that a run keeps.

    ``encoding.json`` holds ``columns`` and ``labels`` (the options that they were declared with, and under ``learned``
    center, scale, value of missing ones, edges of buckets), ``tables`` (type of the keys by table), the columns of
    user, item, group, ids and weight, and the ``identity``. Beside it are ``schema.json`` and, for each table that is
    not hashed, ``vocabulary/<table>.parquet`` with ``value``, ``count`` in train and ``id``.

    Args:
        folder: Where it lies.

    Raises:
        DataError: What lies there is something else, or of a version of mtlzoo that knows more.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with _understood(folder):
            self.plain: dict[str, Any] = json.loads((folder / FILE).read_text())
            self.schema = FeatureSchema.from_dict(json.loads((folder / "schema.json").read_text()))
            self.fingerprint: str = json.loads((folder / "manifest.json").read_text())["fingerprint"]
            self.recipe = self._recipe()
            """Columns and labels as they were declared; the training's split, which encodes nothing, is left out."""
            self.identity: dict[str, Any] = {name: self.plain["identity"][name] for name in ("vocabulary", "parts")}
            """What of the data must be the same for a trained model: digests by ``parts``, and of all vocabularies."""

    def __repr__(self) -> str:
        """Folder and the fingerprint of the data."""
        return f"Encoding({str(self.folder)!r}: of {self.fingerprint})"

    def _recipe(self) -> Recipe:
        columns = ({k: v for k, v in column.items() if k != "learned"} for column in self.plain["columns"])
        labels = ({k: v for k, v in label.items() if k != "learned"} for label in self.plain["labels"])
        return Recipe(
            columns=tuple(COLUMNS[column.pop("kind")](**column) for column in columns),
            labels=tuple(Label(**label) for label in labels),
            links=tuple(Links(**link) for link in self.plain["links"]),
            **{role: self.plain[role] for role in _ROLES} | {"ids": tuple(self.plain["ids"])},
        )

    def check_features(self, recipe: Recipe, name: str) -> None:
        """Refuses to encode other columns than those of the training.

        Args:
            recipe: Of the data to encode.
            name: Of their data module, for the message.

        Raises:
            DataError: With the differences.
        """
        given, known = ([_encoded(column) for column in each.columns] for each in (recipe, self.recipe))
        if given != known:
            here, there = ([column for column in a if column not in b] for a, b in ((given, known), (known, given)))
            if not here and not there:
                here, there = ([column["name"] for column in columns] for columns in (given, known))
            raise DataError(
                f"{name}: {self.folder} encodes other features, or in another order.\n  here: {here}\n"
                f"  there: {there}\nDescribe them as for the training."
            )

    def copy(self, folder: Path) -> None:
        """Writes the same into a new folder."""
        folder.mkdir()
        for name in (FILE, "schema.json", "manifest.json"):
            shutil.copyfile(self.folder / name, folder / name)
        shutil.copytree(self.folder / "vocabulary", folder / "vocabulary")
        sync(folder)

    def restore(self, plan: Plan) -> None:
        """Gives the encoders and tables of a plan of the same columns what was learned; labels may be others.

        Raises:
            DataError: The folder was changed since it was written.
        """
        with _understood(self.folder):
            for name, table in plan.tables.items():
                table.restore(_type(self.plain["tables"][name]), _path(self.folder, name))
            for column in self.plain["columns"]:
                plan.features[column["name"]].restore(column["learned"])
            learned = {label["name"] or label["column"]: label["learned"] for label in self.plain["labels"]}
            for label, encoder in plan.labels.items():
                if (name := label.name or label.column) in learned:
                    encoder.restore(learned[name])
            found = _identity(plan, self.plain["columns"], self.plain["labels"])
        if found != self.identity:
            raise DataError(
                f"{self.folder}: vocabularies or statistics are not those that were written there. Take them from "
                "another copy, or prepare the training's data again."
            )


@contextmanager
def _understood(folder: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{folder} holds no encoding that this version of mtlzoo reads: {type(error).__name__}: "
            f"{error}. Take it from another copy, or use the version that wrote it."
        ) from error


def _encoded(column: Column) -> dict[str, Any]:
    """What of a column's declaration its encoding depends on, once there is a vocabulary."""
    left_out = ("separator", "min_count", "pooling", "target")
    return {"kind": type(column).__name__} | {k: v for k, v in asdict(column).items() if k not in left_out}


def save_encoding(plan: Plan, folder: Path) -> None:
    """Writes what a fitted plan learned into the folder of its preparation."""
    (folder / "vocabulary").mkdir()
    for name, table in plan.tables.items():
        path = _path(folder, name)
        if path.exists():
            raise DataError(
                f"Table {name!r}: this file system takes its file for that of another table, whose name differs by "
                "case or accents only. Rename one of them."
            )
        table.save(path)
    kinds = {kind: name for name, kind in COLUMNS.items()}
    recipe = plan.recipe
    columns = [
        {"kind": kinds[type(column)], **asdict(column), "learned": plan.features[column.name].state()}
        for column in recipe.columns
    ]
    labels = [
        {**asdict(label), "learned": plan.labels[label].state() if label in plan.labels else {}}
        for label in recipe.labels
    ]
    plain = {
        "columns": columns,
        "labels": labels,
        "tables": {name: _plain_type(table.dtype or pl.String()) for name, table in plan.tables.items()},
        **{role: getattr(recipe, role) for role in _ROLES},
        "links": [asdict(link) for link in recipe.links],
        "identity": _identity(plan, columns, labels),
    }
    write_json(folder / FILE, plain)


def _identity(plan: Plan, columns: list[dict[str, Any]], labels: list[dict[str, Any]]) -> dict[str, Any]:
    """Digests of everything that gives numbers and ids their meaning.

    ``vocabulary`` is what checkpoints of earlier versions hold.
    """
    parts = {f"column {column['name']!r}": _digest(_meaning(column)) for column in columns if _meaning(column)}
    parts |= {f"label {label['name'] or label['column']!r}": _digest(label["learned"]) for label in labels}
    whole = hashlib.sha256()
    for name, table in sorted(plan.tables.items(), key=lambda item: f"{item[0]}.parquet"):
        parts[f"table {name!r}"] = _table_digest(name, table, whole)
    return {"vocabulary": whole.hexdigest(), "parts": parts}


def _meaning(column: Mapping[str, Any]) -> dict[str, Any]:
    """What of a column besides its table and its place in the schema says what its numbers are."""
    return {k: v for k, v in column.items() if k in ("transform", "keep")} | dict(column["learned"])


def _table_digest(name: str, table: Table, whole: Any) -> str:
    if isinstance(table, HashTable):
        return _digest({"buckets": table.buckets, "type": _plain_type(table.dtype or pl.String())})
    assert isinstance(table, Vocabulary)
    digest = hashlib.sha256()
    whole.update(f"{name}\n".encode())
    for part in table.entries.select("value", "id").iter_slices(_SLICE):
        text = part.with_columns(pl.col(pl.Duration).to_physical()).write_csv().encode()  # CSV knows no spans
        digest.update(text)
        whole.update(text)
    return digest.hexdigest()


def _digest(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _path(folder: Path, table: str) -> Path:
    return folder / "vocabulary" / f"{file_stem(table)}.parquet"


def _plain_type(dtype: pl.DataType) -> dict[str, Any]:
    options = ("time_unit", "time_zone", "precision", "scale")
    return {"type": type(dtype).__name__} | {name: getattr(dtype, name) for name in options if hasattr(dtype, name)}


def _type(plain: Mapping[str, Any]) -> pl.DataType:
    options = {name: value for name, value in plain.items() if name != "type"}
    kind = getattr(pl, plain["type"], None)
    if not (isinstance(kind, type) and issubclass(kind, pl.DataType)):  # a file from a stranger may name anything
        raise DataError(f"{FILE}: {plain['type']!r} is no type of polars. Take the folder from another copy.")
    return kind(**options)
