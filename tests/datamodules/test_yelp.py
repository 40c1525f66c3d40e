"""Yelp: every quirk of its files."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fixtures.yelp import write_yelp
from mtlzoo.datamodules import DataError, DatasetNotFoundError, Yelp


def objects(root: Path, table: str) -> list[dict[str, Any]]:
    path = root / f"yelp_academic_dataset_{table}.json"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def names(value: Any) -> list[str]:
    if value is None or value in ("None", []):
        return []
    return [name.strip() for name in (value if isinstance(value, list) else value.split(","))]


def test_reviews_are_those_of_the_file(tmp_path: Path) -> None:
    write_yelp(tmp_path)
    rows = pl.concat(Yelp(tmp_path).read())
    expected = objects(tmp_path, "review")
    assert rows["user"].to_list() == [r["user_id"] for r in expected]
    assert rows["item"].to_list() == [r["business_id"] for r in expected]
    assert rows["rating"].to_list() == [r["stars"] for r in expected]
    assert rows["useful"].to_list() == [r["useful"] > 0 for r in expected]
    assert rows["recommend"].is_not_null().to_list() == [r["stars"] > 3 for r in expected]


@pytest.mark.parametrize("lists", [False, True])
def test_friends_of_every_release(tmp_path: Path, lists: bool) -> None:
    write_yelp(tmp_path, lists=lists)
    data = Yelp(tmp_path)
    expected = {(r["user_id"], friend) for r in objects(tmp_path, "user") for friend in names(r["friends"])}
    assert set(pl.concat(data.read_links("friends")).rows()) == expected
    assert data.schema


@pytest.mark.parametrize("lists", [False, True])
def test_the_main_category_is_the_rarest_that_another_has(tmp_path: Path, lists: bool) -> None:
    write_yelp(tmp_path, lists=lists)
    of = {r["business_id"]: names(r["categories"]) for r in objects(tmp_path, "business")}
    counts: dict[str, int] = {}
    for listed in of.values():
        for name in listed:
            counts[name] = counts.get(name, 0) + 1
    expected = {
        item: min((name for name in listed if counts[name] > 1), key=lambda name: (counts[name], name))
        for item, listed in of.items()
        if listed
    }
    assert dict(pl.concat(Yelp(tmp_path).read_links("category")).rows()) == expected


def test_links_need_their_files_and_nothing_else_does(tmp_path: Path) -> None:
    write_yelp(tmp_path)
    for table in ("user", "business"):
        (tmp_path / f"yelp_academic_dataset_{table}.json").unlink()
    assert Yelp(tmp_path, tasks=["recommend", "useful"]).schema
    with pytest.raises(DatasetNotFoundError, match=r"no yelp_academic_dataset_user.json.*agreement"):
        Yelp(tmp_path).prepare_data()


def test_cores_are_of_users_and_businesses(tmp_path: Path) -> None:
    write_yelp(tmp_path)
    rows = pl.concat(Yelp(tmp_path, core=16).read())
    assert 0 < len(rows) < 900
    assert rows.filter((pl.len().over("user") < 16) | (pl.len().over("item") < 16)).is_empty()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("<html>", "web page|not JSON"),
        ('{"user_id": "u", "business_id": "b", "stars": 9.0, "useful": 0}', "found 9.0; allowed is 1 to 5"),
        ('{"business_id": "b", "stars": 5.0, "useful": 0}', "an id in every review"),
        ('{"user_id": "u", "business_id": "b", "stars": "five", "useful": 0}', "'stars' is"),
    ],
)
def test_files_that_are_not_what_they_should_be(tmp_path: Path, line: str, message: str) -> None:
    write_yelp(tmp_path)
    (tmp_path / "yelp_academic_dataset_review.json").write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        Yelp(tmp_path).prepare_data()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": ["recommend", "trust"]}, r"tasks=\['recommend', 'trust'\]; allowed"),
        ({"tasks": ["friends"]}, "must be among them"),
        ({"split": "time"}, "split='time'"),
        ({"core": -2}, "core=-2"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Yelp(tmp_path, **arguments)
