"""Amazon's own files of 2014, 2018 and 2023: every quirk."""

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fixtures.amazon import write_amazon
from mtlzoo.datamodules import AmazonReviews, DataError, DatasetNotFoundError
from mtlzoo.datamodules.amazon_files import RELEASES

VERSIONS: list[Any] = ["2014", "2018", "2023"]


def made(root: Path, version: Any, **arguments: Any) -> AmazonReviews:
    return AmazonReviews(root, **{"version": version, "split": "user", "tasks": ["recommend"], **arguments})


@pytest.mark.parametrize("version", VERSIONS)
def test_ratings_alone_are_those_of_the_reviews(tmp_path: Path, version: Any) -> None:
    write_amazon(tmp_path / "csv", version, form="csv")
    write_amazon(tmp_path / "json", version, form="json")
    ratings, reviews = (pl.concat(made(tmp_path / form, version).read()) for form in ("csv", "json"))
    names = ["user", "item", "rating", "timestamp", "recommend"]
    assert ratings.select(names).equals(reviews.select(names))
    assert ratings["user"].str.starts_with("A").all()
    assert ratings["item"].str.starts_with("B").all()
    assert (ratings["timestamp"] < 2_000_000_000).all()
    assert ratings["recommend"].is_not_null().to_list() == (ratings["rating"] > 3).to_list()


@pytest.mark.parametrize("version", VERSIONS)
def test_votes_and_purchases(tmp_path: Path, version: Any) -> None:
    write_amazon(tmp_path, version)
    task = "helpful" if version == "2014" else "verified"
    frame = pl.concat(made(tmp_path, version, tasks=["recommend", "helpful", task][: 2 + (version != "2014")]).read())
    name = {"2014": "reviews_Office_Products_5.json", "2018": "Office_Products_5.json", "2023": "Office_Products.jsonl"}
    with gzip.open(tmp_path / f"{name[version]}.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    for row, helpful, verified in zip(rows, frame["helpful"], frame["verified"], strict=True):
        if version == "2014":
            assert (helpful, verified) == (row["helpful"][0] > 0, None)
        elif version == "2018":
            assert (helpful, verified) == ("vote" in row, row["verified"])
        else:
            assert (helpful, verified) == (row["helpful_vote"] > 0, row["verified_purchase"])


@pytest.mark.parametrize("version", VERSIONS)
def test_links_are_those_of_the_metadata(tmp_path: Path, version: Any) -> None:
    write_amazon(tmp_path, version)
    end = "jsonl" if version == "2023" else "json"
    with gzip.open(tmp_path / f"meta_Office_Products.{end}.gz", "rt") as file:
        rows: list[dict[str, Any]] = [eval(line) if version == "2014" else json.loads(line) for line in file]
    data = made(tmp_path, version, tasks=["recommend", *RELEASES[version].links, "category"])
    for name in RELEASES[version].links:
        found = set(pl.concat(data.read_links(name)).rows())
        if version == "2014":
            expected = {(r["asin"], other) for r in rows for other in r.get("related", {}).get(name, [])}
        else:
            key = (
                "bought_together"
                if version == "2023"
                else {"also_viewed": "also_view", "also_bought": "also_buy"}[name]
            )
            item = "parent_asin" if version == "2023" else "asin"
            expected = {(r[item], other) for r in rows for other in r[key] or []}
        assert found == expected, name
    groups = dict(pl.concat(data.read_links("category")).rows())
    assert len(groups) == len(rows)
    assert set(groups.values()) == {f"Kind {number}" for number in range(5)}
    batch = next(iter(data.train_dataloader()))
    assert {*RELEASES[version].links, "category", "negative"} <= set(batch)


@pytest.mark.parametrize("core", [3, 8])
def test_cores_are_the_largest_of_their_kind(tmp_path: Path, core: int) -> None:
    write_amazon(tmp_path, "2014", form="csv")
    whole = pl.concat(made(tmp_path, "2014").read())
    found = pl.concat(made(tmp_path, "2014", core=core).read())
    expected = whole
    while True:  # one after the other: the largest core does not depend on the order
        counts = expected.filter(pl.len().over("user") >= core)
        counts = counts.filter(pl.len().over("item") >= core)
        if len(counts) == len(expected):
            break
        expected = counts
    assert found.equals(expected)
    assert 0 < len(found) < len(whole)


def test_a_split_per_user_has_graphaus_sizes(tmp_path: Path) -> None:
    write_amazon(tmp_path, "2014", form="csv")
    data = made(tmp_path, "2014", seed=3)
    sizes = pl.concat(data.read()).group_by("user").len()["len"].to_list()
    rows = data.data.manifest["rows"]
    assert rows["train"] == sum(int(0.6 * n + 1e-9) for n in sizes)
    assert rows["val"] == sum(int(0.8 * n + 1e-9) - int(0.6 * n + 1e-9) for n in sizes)


def test_the_category_names_the_files(tmp_path: Path) -> None:
    write_amazon(tmp_path, "2018", "Video_Games")
    assert made(tmp_path, "2018", category="Video_Games", tasks=["recommend", "also_bought"]).schema
    with pytest.raises(DatasetNotFoundError, match=r"none of \['Books.csv', .* correct category='Books'"):
        made(tmp_path, "2018", category="Books").prepare_data()


def test_tasks_of_reviews_need_reviews(tmp_path: Path) -> None:
    write_amazon(tmp_path, "2018", form="csv")
    assert made(tmp_path, "2018").schema
    with pytest.raises(DatasetNotFoundError, match=r"Office_Products_5\.json"):
        made(tmp_path, "2018", tasks=["recommend", "verified"]).prepare_data()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def page(path: Path) -> None:
    path.write_bytes(b"<!DOCTYPE html>\n<html></html>\n")


def stars(path: Path) -> None:
    with gzip.open(path, "wt") as file:
        file.write('{"reviewerID": "A", "asin": "B", "overall": 6.0, "unixReviewTime": 1}\n')


def nobody(path: Path) -> None:
    with gzip.open(path, "wt") as file:
        file.write('{"asin": "B", "overall": 5.0, "unixReviewTime": 1}\n')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "gzip"),
        (page, "web page|gzip"),
        (stars, "found 6.0; allowed is 1 to 5"),
        (nobody, "an id in every review"),
    ],
)
def test_files_that_are_not_what_they_should_be(tmp_path: Path, damage: Any, message: str) -> None:
    write_amazon(tmp_path, "2018")
    damage(tmp_path / "Office_Products_5.json.gz")
    with pytest.raises(DataError, match=message):
        made(tmp_path, "2018").prepare_data()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"version": "2020"}, "version='2020'"),
        ({"version": "2023", "tasks": ["recommend", "also_viewed"]}, "with version='2023'"),
        ({"version": "2014", "tasks": ["recommend", "verified"]}, "with version='2014'"),
        ({"version": "2018", "tasks": ["also_viewed"]}, "must be of the rows"),
        ({"version": "2018", "core": -1}, "core=-1"),
        ({"version": "2014", "split": "given", "core": 5}, "leave core out"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AmazonReviews(tmp_path, **{"split": "user", **arguments})
