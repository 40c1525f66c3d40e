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
    if value is None or value in ("None", ["None"]):
        return []
    return [name.strip() for name in (value if isinstance(value, list) else value.split(","))]


@pytest.mark.parametrize("lists", [False, True])
def test_reviews_are_those_of_the_file(tmp_path: Path, lists: bool) -> None:
    write_yelp(tmp_path, lists=lists)
    rows = pl.concat(Yelp(tmp_path).read())
    expected = objects(tmp_path, "review")
    assert rows["user"].to_list() == [r["user_id"] for r in expected]
    assert rows["item"].to_list() == [r["business_id"] for r in expected]
    assert rows["rating"].to_list() == [r["stars"] for r in expected]
    assert rows["useful"].to_list() == [r.get("votes", r)["useful"] > 0 for r in expected]
    assert 0.2 < rows["useful"].mean() < 0.8  # type: ignore[operator]  # a number
    assert rows["recommend"].is_not_null().to_list() == [r["stars"] > 3 for r in expected]


@pytest.mark.parametrize("lists", [False, True])
def test_friends_of_every_release(tmp_path: Path, lists: bool) -> None:
    write_yelp(tmp_path, lists=lists)
    data = Yelp(tmp_path)
    expected = {(r["user_id"], friend) for r in objects(tmp_path, "user") for friend in names(r["friends"])}
    found = pl.concat(data.read_links("friends"))
    assert set(found.rows()) == expected
    assert not set(found["target"]) & {"None", ""}
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


def written(root: Path, table: str, *rows: dict[str, Any]) -> Yelp:
    root.mkdir(exist_ok=True)
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (root / f"yelp_academic_dataset_{table}.json").write_text(f"\n{text}\n\n", encoding="utf-8")
    return Yelp(root)


@pytest.mark.parametrize(
    ("friends", "expected"),
    [
        ("None", []),
        ("", []),
        (None, []),
        ("b", ["b"]),
        ("b, c", ["b", "c"]),
        ("b,c", ["b", "c"]),
        (" b ,, c, ", ["b", "c"]),
        ("None, b", ["b"]),
        ([], []),
        (["None"], []),
        (["b", "c"], ["b", "c"]),
    ],
)
def test_friends_are_written_in_many_ways(tmp_path: Path, friends: Any, expected: list[str]) -> None:
    rows = [{"user_id": "a", "friends": friends, "elite": ""}, {"user_id": "z"}]
    found = pl.concat(written(tmp_path, "user", *rows).read_links("friends"))
    assert found.rows() == [("a", friend) for friend in expected]


def test_a_category_that_no_other_business_has_is_not_the_main_one(tmp_path: Path) -> None:
    of = {"a": "Food, Pizza, Rare", "b": "Pizza, Food", "c": "Food", "d": "Food, Odd", "e": "Strange", "f": None}
    rows = [{"business_id": item, "categories": listed, "attributes": None} for item, listed in of.items()]
    found = pl.concat(written(tmp_path, "business", *rows).read_links("category"))
    assert dict(found.rows()) == {"a": "Pizza", "b": "Pizza", "c": "Food", "d": "Food"}


@pytest.mark.parametrize(
    ("said", "useful"),
    [
        ({"useful": 0}, 0),
        ({"useful": 3}, 1),
        ({"useful": -1}, 0),  # there are some
        ({"votes": {"useful": 2, "funny": 0}}, 1),
        ({"votes": {"useful": 0, "funny": 9}}, 0),
        ({"useful": None}, None),
        ({}, None),
    ],
)
def test_votes_of_every_release(tmp_path: Path, said: Any, useful: Any) -> None:
    row = {"user_id": "a", "business_id": "b", "stars": 4, "text": "one\u2028two\x85three", **said}
    rows = pl.concat(written(tmp_path, "review", row).read())
    assert rows.to_dicts() == [{"user": "a", "item": "b", "rating": 4.0, "useful": useful, "recommend": 1}]


def test_texts_are_never_kept(tmp_path: Path) -> None:
    write_yelp(tmp_path / "raw")
    data = Yelp(tmp_path / "raw", prepared=tmp_path / "prepared", tasks=["recommend", "useful"])
    data.prepare_data()
    kept = [path for path in (tmp_path / "prepared").rglob("*") if path.is_file()]
    assert kept
    assert not any(b"twice" in path.read_bytes() for path in kept)
    assert "text" not in pl.concat(data.read()).columns


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
        ('{"business_id": "b", "stars": 5.0, "useful": 0}', "key 'user_id': found None; allowed is an id"),
        ('{"user_id": "u", "business_id": "b", "stars": "five", "useful": 0}', "'stars' is"),
        ('{"user_id": "u", "business_id": "b", "useful": 0}', "found None; allowed is 1 to 5"),
        ('{"user_id": "u", "business_id": "b", "stars": 5.0, "useful": "yes"}', "'useful' is"),
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
