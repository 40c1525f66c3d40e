"""AmazonReviews and Yelp."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fixtures import amazon, yelp
from fuzz.fixture import Build, Published
from fuzz.forms import Form, Table
from fuzz.objects import Objects
from fuzz.values import LARGEST, integer, listed, number, real, string, text, whole
from mtlzoo.datamodules import AmazonReviews, Yelp

NAME = string(r"[!#-+\--~]+")
STARS = real(lambda value: value in (1, 2, 3, 4, 5))


def _seconds(per_second: int) -> Callable[[Any], bool]:
    return lambda value: value is None or (integer(-(2**63))(value) and 788_918_400 <= value // per_second <= LARGEST)


VOTE = r"([0-9]{1,18}|[0-9]{1,3}(,[0-9]{3}){1,5})"


def _vote(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip() or string(VOTE)(value.strip())
    return integer(0, missing=True)(value) and (value is None or value < 10**18)


def _one_type(*names: str) -> Callable[[list[dict[str, Any]]], bool]:
    """Releases differ, but a file is of one."""
    return lambda rows: all(len({type(row[name]) for row in rows if row.get(name) is not None}) <= 1 for name in names)


WORDS = listed(string(missing=True))
OLD_KEYS = {"reviewerID": NAME, "asin": NAME, "overall": STARS, "unixReviewTime": _seconds(1)}
BOUGHT: dict[str, Form] = {
    "Office_Products_5.json": Objects(
        keys={**OLD_KEYS, "vote": _vote, "verified": lambda value: value is None or isinstance(value, bool)},
        alike=_one_type("vote"),
    ),
    "meta_Office_Products.json": Objects(
        "links", "asin", keys={"asin": NAME, "also_buy": WORDS, "also_view": WORDS, "category": WORDS}
    ),
}
OF_2014: dict[str, Form] = {
    "reviews_Office_Products_5.json": Objects(
        keys={**OLD_KEYS, "helpful": lambda v: listed(integer(0), missing=False)(v) and len(v) == 2}
    ),
    "meta_Office_Products.json": Objects(
        "links",
        "asin",
        keys={
            "asin": NAME,
            "categories": listed(listed(string(missing=True))),
            "related": lambda v: (
                v is None
                or (isinstance(v, dict) and all(WORDS(v.get(name)) for name in ("also_viewed", "also_bought")))
            ),
        },
        inner=frozenset({"also_viewed", "also_bought"}),
        literals=True,
    ),
}
OF_2023: dict[str, Form] = {
    "Office_Products.jsonl": Objects(
        keys={
            "user_id": NAME,
            "parent_asin": NAME,
            "rating": STARS,
            "timestamp": _seconds(1000),
            "helpful_vote": integer(0),
            "verified_purchase": lambda value: value is None or isinstance(value, bool),
        }
    ),
    "meta_Office_Products.jsonl": Objects(
        "links", "parent_asin", keys={"parent_asin": NAME, "bought_together": WORDS, "categories": WORDS}
    ),
}
_WORD = text(r"[!#-+\--~]+")


def _csv(columns: tuple[str, ...], name: str, per_second: int = 1, *, named: bool = False) -> dict[str, Form]:
    def when(value: str) -> bool:
        return not value or (whole()(value) and 788_918_400 <= int(value) // per_second <= LARGEST)

    allowed = {"user": _WORD, "item": _WORD, "rating": number(1, 5, step=1), "time": when}
    real_names = {"user": "user_id", "item": "parent_asin", "rating": "rating", "time": "timestamp"} if named else {}
    wanted = {real_names.get(column, column): allowed[column] for column in columns}
    return {name: Table(columns=wanted, names=() if named else columns)}


def _amazon(version: Any, form: str, *tasks: str) -> Build:
    def build(root: Path) -> AmazonReviews:
        amazon.write_amazon(root, version, form=form)
        return AmazonReviews(root, version=version, split="user", tasks=["recommend", "rating", *tasks])

    return build


def _given(root: Path) -> AmazonReviews:
    return AmazonReviews(amazon.write_given(root), split="given")


def _yelp(friends: Callable[[Any], bool]) -> dict[str, Form]:
    votes = {"useful": integer(-(2**63), missing=True)}
    keys = {"user_id": NAME, "business_id": NAME, "stars": STARS, **votes}
    keys["votes"] = lambda v: v is None or (isinstance(v, dict) and votes["useful"](v.get("useful")))
    return {
        "yelp_academic_dataset_review.json": Objects(keys=keys),
        "yelp_academic_dataset_user.json": Objects(
            "links", "user_id", keys={"user_id": NAME, "friends": friends}, alike=_one_type("friends")
        ),
        "yelp_academic_dataset_business.json": Objects(
            "links", "business_id", keys={"business_id": NAME, "categories": friends}, alike=_one_type("categories")
        ),
    }


def _words(value: Any) -> bool:
    return string(missing=True)(value) or WORDS(value)


PUBLISHED = {
    "AmazonReviews": Published(BOUGHT),
    "AmazonReviews 2014": Published(OF_2014, build=_amazon("2014", "json", "helpful", "also_viewed", "category")),
    "AmazonReviews 2023": Published(OF_2023, build=_amazon("2023", "json", "helpful", "verified", "category")),
    "AmazonReviews 2014 csv": Published(
        _csv(("user", "item", "rating", "time"), "ratings_Office_Products.csv"), build=_amazon("2014", "csv")
    ),
    "AmazonReviews 2018 csv": Published(
        _csv(("item", "user", "rating", "time"), "Office_Products.csv"), build=_amazon("2018", "csv")
    ),
    "AmazonReviews 2023 csv": Published(
        _csv(("user", "item", "rating", "time"), "Office_Products.csv", 1000, named=True),
        build=_amazon("2023", "csv"),
    ),
    "AmazonReviews given": Published(
        {
            f"{part}.txt": Table(
                columns={"user": whole(0, LARGEST), "item": whole(0, LARGEST), "rating": number(1, 5, step=1)},
                names=("user", "item", "rating"),
            )
            for part in ("train", "val", "test")
        },
        build=_given,
    ),
    "Yelp": Published(_yelp(_words), free=("category",)),
    "Yelp lists": Published(
        _yelp(_words),
        free=("category",),
        build=lambda root: Yelp(
            yelp.write_yelp(root, lists=True), tasks=["recommend", "rating", "useful", "friends", "category"]
        ),
    ),
}
