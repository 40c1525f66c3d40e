"""Amazon's own reviews and ratings of 2014, 2018 and 2023: every quirk."""

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fixtures.amazon import write_amazon
from mtlzoo.datamodules import AmazonReviews, DataError, DatasetNotFoundError

VERSIONS: list[Any] = ["2014", "2018", "2023"]
SPLITS = ("train", "val", "test")


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
    tasks = ["recommend", "helpful"] if version == "2014" else ["recommend", "verified", "helpful"]
    frame = pl.concat(made(tmp_path, version, tasks=tasks).read())
    name = {"2014": "reviews_Office_Products_5.json", "2018": "Office_Products_5.json", "2023": "Office_Products.jsonl"}
    with gzip.open(tmp_path / f"{name[version]}.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    votes: Any = {
        "2014": lambda row: row["helpful"][0] > 0,
        "2018": lambda row: "vote" in row,
        "2023": lambda row: row["helpful_vote"] > 0,
    }
    assert frame["helpful"].to_list() == [votes[version](row) for row in rows]
    assert 0.2 < frame["helpful"].mean() < 0.8  # type: ignore[operator]  # a number
    if version == "2014":
        assert "verified" not in frame.columns
    else:
        bought = "verified" if version == "2018" else "verified_purchase"
        assert frame["verified"].to_list() == [row[bought] for row in rows]


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


def test_positives_alone_are_kept_in_test_as_graphau_does(tmp_path: Path) -> None:
    write_amazon(tmp_path, "2014", form="csv")
    for split in ("user", "random"):
        whole = made(tmp_path, "2014", split=split, seed=3, core=4)
        part = made(tmp_path, "2014", split=split, seed=3, core=4, test_positives=True)
        for name in SPLITS:
            expected = whole.data[name].ids().hstack([pl.Series(whole.data[name]["labels"][:, 0].numpy())])
            if name == "test":
                assert expected[:, 2].is_nan().any()
                expected = expected.filter(~expected[:, 2].is_nan())
            found = part.data[name].ids()
            assert found.equals(expected[:, :2]), name
        assert not part.data["test"]["labels"].isnan().any()
        assert not list(part.prepared.glob(".*"))


def test_every_choice_of_the_filter_is_prepared_by_itself(tmp_path: Path) -> None:
    write_amazon(tmp_path, "2014", form="csv")
    choices: list[dict[str, Any]] = [{}, {"seed": 1}, {"val": 0.1}, {"split": "random"}, {"positive_from": 4}]
    data = [made(tmp_path, "2014", test_positives=True, **choice) for choice in choices]
    data += [made(tmp_path, "2014"), made(tmp_path, "2014", core=3)]
    assert len({one.folder for one in data}) == len(data)


@pytest.mark.parametrize("version", VERSIONS)
def test_tasks_do_not_change_the_rows(tmp_path: Path, version: Any) -> None:
    """Ratings of everybody may lie beside a core of the reviews: tasks would be compared on other rows."""
    write_amazon(tmp_path, version, form="csv", seed=1)
    write_amazon(tmp_path, version, form="json")
    one, more = (pl.concat(made(tmp_path, version, tasks=["recommend", *names]).read()) for names in ([], ["helpful"]))
    assert one.equals(more.drop("helpful"))


def test_the_category_names_the_files(tmp_path: Path) -> None:
    write_amazon(tmp_path, "2018", "Video_Games")
    assert made(tmp_path, "2018", category="Video_Games", tasks=["recommend", "also_bought"]).schema
    with pytest.raises(
        DatasetNotFoundError, match=r"none of \['Books_5.json', .*'Books.csv'.* correct category='Books'"
    ):
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


@pytest.mark.parametrize(("damage", "message"), [(cut, "gzip truncated"), (page, "a web page, not data")])
@pytest.mark.parametrize("name", ["Office_Products_5.json.gz", "meta_Office_Products.json.gz"])
def test_damaged_files_are_refused(tmp_path: Path, damage: Any, message: str, name: str) -> None:
    write_amazon(tmp_path, "2018")
    damage(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}: {message}"):
        made(tmp_path, "2018", tasks=["recommend", "category"]).prepare_data()


def review(**keys: Any) -> str:
    row = {"reviewerID": "A", "asin": "B", "overall": 4.0, "unixReviewTime": 1_500_000_000, **keys}
    return json.dumps({key: value for key, value in row.items() if value is not ...}, ensure_ascii=False)


def reviews(root: Path, *lines: str, **arguments: Any) -> pl.DataFrame:
    (root / "Office_Products_5.json").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return pl.concat(made(root, "2018", **arguments).read())


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"overall": 6.0}, "found 6.0; allowed is 1 to 5"),
        ({"overall": 0.0}, "found 0.0; allowed is 1 to 5"),
        ({"overall": None}, "found None; allowed is 1 to 5"),
        ({"overall": "five"}, "line 2: 'overall' is .*expected Float64"),
        ({"reviewerID": ...}, "line 2, key 'reviewerID': found None; allowed is an id"),
        ({"asin": None}, "line 2, key 'asin': found None; allowed is an id"),
        ({"vote": "many"}, "'vote', row 2: found 'many'; allowed is a number, or none"),
        ({"vote": [1]}, "line 2: 'vote' is .*expected"),
        ({"verified": "yes"}, "line 2: 'verified' is .*expected Boolean"),
    ],
)
def test_reviews_that_are_not_what_they_should_be(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        reviews(tmp_path, review(), review(**keys), tasks=["recommend", "helpful", "verified"])


@pytest.mark.parametrize(
    ("vote", "helpful"), [(..., 0), (None, 0), ("", 0), ("0", 0), ("2", 1), (" 3 ", 1), ("1,234", 1), ("1,234,567", 1)]
)
def test_votes_are_texts(tmp_path: Path, vote: Any, helpful: int) -> None:
    rows = reviews(tmp_path, review(vote="7"), review(vote=vote), review(), tasks=["recommend", "helpful"])
    assert rows["helpful"].to_list() == [1, helpful, 0]


def test_votes_may_be_numbers(tmp_path: Path) -> None:
    rows = reviews(tmp_path, review(vote=0), review(vote=3), review(), tasks=["recommend", "helpful"])
    assert rows["helpful"].to_list() == [0, 1, 0]


def test_what_no_task_needs_may_be_anything(tmp_path: Path) -> None:
    odd: list[Any] = [{"vote": "many"}, {"vote": [1]}, {"verified": "yes"}, {"style": 3}, {"style": {"Size:": " L"}}]
    odd += [{"image": ["https://x"]}, {"image": "x"}, {"reviewText": "one\u2028two\x85three"}, {"unixReviewTime": ...}]
    rows = reviews(tmp_path, *(review(**keys) for keys in odd), "", review(), "  ")
    assert rows["user"].to_list() == ["A"] * (len(odd) + 1)
    assert rows["timestamp"].null_count() == 1


def test_pairs_that_were_rated_twice_have_two_rows(tmp_path: Path) -> None:
    assert reviews(tmp_path, review(), review(overall=2.0))["rating"].to_list() == [4.0, 2.0]


def test_plain_files_come_before_packed_ones_and_cores_before_all(tmp_path: Path) -> None:
    names = ["Office_Products_5.json", "Office_Products_5.json.gz", "Office_Products.json", "Office_Products.json.gz"]
    names += ["Office_Products.csv", "Office_Products.csv.gz"]
    for name in names:
        (tmp_path / name).touch()
    for name in names:
        assert made(tmp_path, "2018").files() == (tmp_path / name,)
        (tmp_path / name).unlink()


@pytest.mark.parametrize("version", VERSIONS)
def test_ratings_of_another_release_are_refused(tmp_path: Path, version: Any) -> None:
    """2018 has no line of names and the item first; 2023 has one."""
    other = "2018" if version == "2023" else "2023"
    write_amazon(tmp_path, other, form="csv")
    (path,) = made(tmp_path, other).files()
    path.rename(tmp_path / ("ratings_Office_Products.csv.gz" if version == "2014" else path.name))
    with pytest.raises(DataError, match=r"no column|invalid value 'rating'"):
        made(tmp_path, version).prepare_data()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"version": "2020"}, "version='2020'"),
        ({"version": "2023", "tasks": ["recommend", "also_viewed"]}, "with version='2023'"),
        ({"version": "2014", "tasks": ["recommend", "verified"]}, "with version='2014'"),
        ({"version": "2018", "tasks": ["also_viewed"]}, "which are of the rows, must be among them"),
        ({"version": "2018", "core": -1}, "core=-1"),
        ({"version": "2014", "split": "given", "core": 5}, "Leave these out"),
        ({"version": "2018", "split": "given"}, "version='2018'.*of 2014.*or give split='user'"),
        ({"version": "2014", "split": "given", "test_positives": True}, "filtered already"),
        ({"version": "2014", "split": "given", "tasks": ["recommend", "helpful"]}, "split='given' are"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AmazonReviews(tmp_path, **{"split": "user", **arguments})
