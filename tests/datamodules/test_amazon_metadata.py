"""Amazon's metadata of 2014, 2018 and 2023: what products are linked with, and their category."""

import ast
import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fixtures.amazon import write_amazon
from mtlzoo.datamodules import AmazonReviews, DataError

VERSIONS: list[Any] = ["2014", "2018", "2023"]


def made(root: Path, version: Any, **arguments: Any) -> AmazonReviews:
    return AmazonReviews(root, **{"version": version, "split": "user", "tasks": ["recommend"], **arguments})


def links(root: Path, version: Any, name: str, *lines: str) -> list[tuple[str, str]]:
    write_amazon(root, version)
    end = "jsonl" if version == "2023" else "json"
    (root / f"meta_Office_Products.{end}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return pl.concat(made(root, version, tasks=["recommend", name]).read_links(name)).rows()


LINKED: dict[str, dict[str, Any]] = {
    "2014": {name: lambda row, name=name: row.get("related", {}).get(name) for name in ("also_viewed", "also_bought")},
    "2018": {"also_viewed": lambda row: row["also_view"], "also_bought": lambda row: row["also_buy"]},
    "2023": {"also_bought": lambda row: row["bought_together"]},
}
"""What the metadata say an item is linked with."""


@pytest.mark.parametrize("version", VERSIONS)
def test_links_are_those_of_the_metadata(tmp_path: Path, version: Any) -> None:
    write_amazon(tmp_path, version)
    end, item = ("jsonl", "parent_asin") if version == "2023" else ("json", "asin")
    with gzip.open(tmp_path / f"meta_Office_Products.{end}.gz", "rt") as file:
        rows: list[dict[str, Any]] = [ast.literal_eval(line.replace("null", "None")) for line in file]
    data = made(tmp_path, version, tasks=["recommend", *LINKED[version], "category"])
    for name, said in LINKED[version].items():
        expected = {(row[item], other) for row in rows for other in said(row) or []}
        assert set(pl.concat(data.read_links(name)).rows()) == expected, name
    groups = dict(pl.concat(data.read_links("category")).rows())
    assert groups == {row[item]: f"Kind {int(row[item][1:]) % 5}" for row in rows}
    batch = next(iter(data.train_dataloader()))
    assert {*LINKED[version], "category", "negative"} <= set(batch)


def test_metadata_of_2014_are_dictionaries_of_python_or_json(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"asin": "a", "title": 'It\'s "it"', "related": {"also_viewed": ["b", "c"], "buy_after_viewing": ["d"]}},
        {"asin": "b", "price": 9.5, "related": {"also_bought": ["c"]}},
        {"asin": "c", "brand": None, "salesRank": {"Office": 3}},
        {"asin": "d", "related": {"also_viewed": []}},
    ]
    for write in (repr, json.dumps):
        lines = [write(row) for row in rows]
        assert links(tmp_path, "2014", "also_viewed", *lines, "") == [("a", "b"), ("a", "c")]
        assert links(tmp_path, "2014", "also_bought", *lines, "") == [("b", "c")]


def test_metadata_are_never_evaluated(tmp_path: Path) -> None:
    trap = "{'asin': __import__('pathlib').Path('%s').touch()}" % (tmp_path / "trapped")
    with pytest.raises(DataError, match="line 1: not JSON"):
        links(tmp_path, "2014", "also_viewed", trap)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("version", "said", "groups"),
    [
        ("2014", {"categories": [["Office", "Pens"], ["Art", "Ink", "Pens & Ink"]]}, ["Pens", "Pens & Ink"]),
        ("2014", {"categories": [["Office"], []]}, ["Office"]),
        ("2018", {"category": ["Office", "Pens"]}, ["Pens"]),
        ("2018", {"category": []}, []),
        ("2018", {}, []),
        ("2023", {"categories": ["Office", "Pens"], "main_category": "Office"}, ["Pens"]),
        ("2023", {"categories": None}, []),
    ],
)
def test_the_innermost_category_counts(tmp_path: Path, version: Any, said: Any, groups: list[str]) -> None:
    item = {"parent_asin" if version == "2023" else "asin": "a", "details": {}, **said}
    assert links(tmp_path, version, "category", json.dumps(item)) == [("a", group) for group in groups]


def test_a_link_needs_only_its_own_key(tmp_path: Path) -> None:
    line = json.dumps({"asin": "a", "also_buy": ["b"], "also_view": "everything", "category": 3})
    assert links(tmp_path, "2018", "also_bought", line) == [("a", "b")]
    with pytest.raises(DataError, match="line 1: 'also_view' is"):
        links(tmp_path, "2018", "also_viewed", line)


def test_links_of_products_that_nobody_rated_are_refused(tmp_path: Path) -> None:
    write_amazon(tmp_path, "2018")
    (tmp_path / "meta_Office_Products.json").write_text('{"asin": "a", "also_buy": ["b"]}\n')
    with pytest.raises(DataError, match=r"Links 'also_bought': no two 'item' of train are linked"):
        made(tmp_path, "2018", tasks=["recommend", "also_bought"]).prepare_data()
