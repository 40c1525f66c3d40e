"""The forms of the files that the fixtures write, by data set, and more fixtures in the forms of other releases."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import mtlzoo.datamodules
from fixtures import amazon, movielens, yelp
from fuzz.forms import (
    LARGEST,
    Form,
    Matrix,
    Objects,
    Table,
    integer,
    listed,
    number,
    one_of,
    real,
    string,
    text,
    whole,
)
from mtlzoo.datamodules import AmazonReviews, MovieLens, MultiTaskDataModule, Yelp
from mtlzoo.datamodules.movielens_files import AGES, GENRES, OCCUPATIONS, OLD_GENRES

Build: TypeAlias = Callable[[Path], MultiTaskDataModule]
ID, TIME, FLAG = whole(1, LARGEST), whole(788_918_400, LARGEST), one_of("0", "1")
NAME = string(r"[!-+\--~]+")
STARS = real(lambda value: value in (1, 2, 3, 4, 5))


@dataclass(frozen=True)
class Published:
    """A data set's files.

    Args:
        forms: By the name of the file, without ``.gz``.
        ignored: Columns of the rows that depend on other rows.
        real: Column that is 1 in the rows of the file, if others are added.
        build: Writes the files and returns the data module; that of the fixtures if None.
        free: Links that depend on all lines.
    """

    forms: Mapping[str, Form]
    ignored: tuple[str, ...] = ("split",)
    real: str = ""
    build: Build | None = None
    free: tuple[str, ...] = ()


# ---- MovieLens


def _ratings(by: str, step: float = 1, names: tuple[str, ...] = (), **options: Any) -> Table:
    columns = ("user", "item", "rating", "timestamp") if names else ("userId", "movieId", "rating", "timestamp")
    allowed = (ID, ID, number(step, 5, step=step), TIME)
    return Table(columns=dict(zip(columns, allowed, strict=True)), names=names, by=by, **options)


def _genres(names: tuple[str, ...]) -> Callable[[str], bool]:
    return lambda value: value == "(no genres listed)" or all(name in names for name in value.split("|"))


RATING = ("user", "item", "rating", "timestamp")
ZIP = text("[0-9A-Z]{5}([0-9]{0,4}|-[0-9]{4})")
FLAGS = ("unknown", *OLD_GENRES)
OF_100K = {
    "u.data": _ratings("\t", names=RATING, quoted=True),
    "u.item": Table(
        "table",
        "item",
        columns={"item": ID, "title": text(), **dict.fromkeys(FLAGS, FLAG)},
        names=("item", "title", "released", "video", "url", *FLAGS),
        by="|",
        quoted=False,
        encoding="latin-1",
        together=lambda row: (row["unknown"] == "1") != any(row[genre] == "1" for genre in OLD_GENRES),
    ),
    "u.user": Table(
        "table",
        "user",
        columns={
            "user": ID,
            "age": whole(1, 120),
            "gender": one_of("M", "F"),
            "occupation": one_of(*OCCUPATIONS),
            "zip": ZIP,
        },
        names=("user", "age", "gender", "occupation", "zip"),
        by="|",
        quoted=False,
        encoding="latin-1",
    ),
}
OF_1M = {
    "ratings.dat": _ratings("::", names=RATING, quoted=False, encoding="latin-1"),
    "movies.dat": Table(
        "table",
        "item",
        columns={"item": ID, "title": text(), "genres": _genres(OLD_GENRES)},
        names=("item", "title", "genres"),
        by="::",
        quoted=False,
        encoding="latin-1",
    ),
    "users.dat": Table(
        "table",
        "user",
        columns={
            "user": ID,
            "gender": one_of("M", "F"),
            "age": lambda value: whole()(value) and int(value) in AGES,
            "occupation": whole(0, 20),
            "zip": ZIP,
        },
        names=("user", "gender", "age", "occupation", "zip"),
        by="::",
        quoted=False,
        encoding="latin-1",
    ),
}
OF_CSV = {
    "ratings.csv": _ratings(",", 0.5),
    "movies.csv": Table(
        "table", "movieId", "item", columns={"movieId": ID, "title": text(), "genres": _genres(GENRES)}
    ),
}


def _movielens(version: Any, **arguments: Any) -> Build:
    def build(root: Path) -> MovieLens:
        movielens.write_movielens(root, version)
        return MovieLens(root, version=version, download=False, **arguments)

    return build


# ---- LastFM, Ciao, Epinions


def _tabs(role: Any, key: str, *names: str, **columns: Any) -> Table:
    return Table(role, key, columns={**dict.fromkeys(names, ID), **columns}, by="\t")


def _ciao(categories: int, *names: str) -> dict[str, Form]:
    def positive(value: float) -> bool:
        return 1 <= value <= LARGEST

    rating, network = names
    columns = (positive, positive, lambda value: 1 <= value <= categories, lambda value: 0 <= value <= 5)
    return {
        f"{rating}.mat": Matrix(names=("rating", "rating_with_timestamp"), columns=columns, widths=(4, 5, 6)),
        f"{network}.mat": Matrix(
            "links", "source", names=("trustnetwork", "trust"), columns=(positive, positive), widths=(2,)
        ),
    }


# ---- Amazon, Yelp


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
_WORD = text(r"[!-+\--~]+")


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


PUBLISHED: dict[str, Published] = {
    "MovieLens": Published(OF_1M, real="interaction"),
    "MovieLens 100k": Published(OF_100K, build=_movielens("100k", tasks=["rating", "genres"])),
    "MovieLens u1": Published(
        {**OF_100K, "u1.base": OF_100K["u.data"], "u1.test": OF_100K["u.data"]},
        build=_movielens("100k", tasks=["recommend", "rating"], split="u1"),
    ),
    "MovieLens latest-small": Published(OF_CSV, build=_movielens("latest-small", tasks=["rating"], split="user")),
    "LastFM": Published(
        {
            "user_artists.dat": _tabs("rows", "", "userID", "artistID", weight=whole(0, LARGEST)),
            "user_friends.dat": _tabs("links", "userID", "userID", "friendID"),
            "user_taggedartists.dat": _tabs("links", "artistID", "artistID", "tagID"),
        }
    ),
    "Ciao": Published(_ciao(28, "rating", "trustnetwork")),
    "Epinions": Published(_ciao(LARGEST, "rating_with_timestamp", "trust")),
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


def sources() -> dict[str, Published]:
    """Every data module's fixture that reads files, and those above in more forms."""
    found = {}
    for name in mtlzoo.datamodules.__all__:
        kind = getattr(mtlzoo.datamodules, name)
        if inspect.isclass(kind) and issubclass(kind, MultiTaskDataModule) and not inspect.isabstract(kind):
            build = importlib.import_module(f"fixtures.{kind.__module__.rpartition('.')[2]}").build
            found[name] = replace(PUBLISHED.get(name, Published({})), build=build)
    return {**PUBLISHED, **found}
