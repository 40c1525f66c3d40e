"""What describes a table: a schema file or arguments, and what is wrong in them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.tabular import SCHEMA, write_table
from mtlzoo.datamodules import DatasetNotFoundError, TabularDataModule


def described(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (yaml.safe_load(SCHEMA) | changes).items() if value is not None}


def test_a_schema_file_and_arguments_say_the_same(tmp_path: Path) -> None:
    write_table(tmp_path)
    by_file = TabularDataModule(tmp_path, schema_file="schema.yaml")
    by_arguments = TabularDataModule(tmp_path, **described())
    assert by_file.recipe == by_arguments.recipe
    assert by_file.folder == by_arguments.folder
    assert [task.name for task in by_file.schema.tasks] == ["click", "stars", "kind"]
    assert by_file.schema.group == "user_id"
    assert by_file.data.manifest["rows"] == {"train": 800, "val": 100, "test": 100}


def test_an_argument_wins_over_the_schema_file(tmp_path: Path) -> None:
    write_table(tmp_path)
    data = TabularDataModule(tmp_path, schema_file="schema.yaml", labels={"click": "binary"})
    assert [label.column for label in data.recipe.labels] == ["click"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": {"price": "numerical"}}, "kind of features.price 'numerical' is unknown.*mean 'numeric'"),
        ({"features": {"price": {"transform": "log1p"}}}, "features.price has no kind; allowed"),
        ({"features": {"price": {"kind": "numeric", "transfrom": "log1p"}}}, "'transfrom' is unknown.*'transform'"),
        ({"labels": {"click": {"kind": "binary", "classs": 2}}}, "labels.click 'classs' is unknown.*'classes'"),
        ({"labels": None}, "no labels; give labels="),
        ({"split": {"kind": "timed"}}, "kind of split 'timed'.*'time'"),
        ({"split": {"kind": "time", "column": "day"}}, "split:.*'val'"),
        ({"labels": {"click": "binry"}}, "kind of labels.click 'binry' is unknown.*'binary'"),
    ],
)
def test_a_wrong_description_is_explained_at_once(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TabularDataModule(tmp_path, **described(**changes))


def test_a_wrong_key_of_the_schema_file_is_explained(tmp_path: Path) -> None:
    write_table(tmp_path)
    (tmp_path / "schema.yaml").write_text(SCHEMA.replace("features:", "feature:"))
    with pytest.raises(ValueError, match=r"schema\.yaml: key 'feature' is unknown.*Did you mean 'features'"):
        TabularDataModule(tmp_path, schema_file="schema.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "train: a.csv\ntrain: b.csv",
        "features:\n  user_id: categorical\n  'user_id': numeric",
        "split: {kind: time, column: day, kind: random}",
    ],
)
def test_a_key_that_the_schema_file_has_twice_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "schema.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"schema\.yaml: .*the key '\w+' occurs twice, first in .* line \d.* line \d"):
        TabularDataModule(tmp_path, schema_file="schema.yaml")


def test_keys_may_be_merged_in_the_schema_file(tmp_path: Path) -> None:
    write_table(tmp_path, ".csv")
    text = "train: clicks.csv\nlabels: {click: &a {kind: binary, weight: 2.0}, bought: {<<: *a, weight: 3.0}}\n"
    (tmp_path / "schema.yaml").write_text(f"{text}features: {{user_id: categorical}}\n")
    labels = TabularDataModule(tmp_path, schema_file="schema.yaml").recipe.labels
    assert [(label.kind, label.weight) for label in labels] == [("binary", 2.0), ("binary", 3.0)]


def test_a_missing_schema_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"schema\.yaml.*relative to root"):
        TabularDataModule(tmp_path, schema_file="schema.yaml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "klingon"}, "encoding='klingon': unknown"),
        ({"encoding": "utf-16"}, "iconv"),
        ({"null_values": "NA"}, "null_values='NA'; allowed are lists of texts"),
        ({"null_values": ["NA", -1]}, "null_values=.*; allowed are lists of texts"),
        ({"quote": "no"}, "quote='no'; allowed are true and false"),
        ({"decimal": ";"}, "decimal=';'; allowed are '.', ','"),
        ({"strip": 1}, "strip=1; allowed are true and false"),
        ({"separator": ""}, "separator=''; allowed are texts that are not empty"),
        ({"separator": "\n"}, "allowed are texts without quotes and line breaks"),
    ],
)
def test_how_text_is_read_is_checked_before_it_is(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TabularDataModule("nowhere", **described(train="a.csv", **options))
