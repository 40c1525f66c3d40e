"""MovieLens, LastFM, Ciao and Epinions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fixtures import movielens
from fuzz.binary import Matrix
from fuzz.fixture import Build, Published
from fuzz.forms import Form, Table
from fuzz.values import (
    LARGEST,
    number,
    one_of,
    text,
    whole,
)
from mtlzoo.datamodules import MovieLens
from mtlzoo.datamodules.movielens_files import AGES, GENRES, OCCUPATIONS, OLD_GENRES

ID, TIME, FLAG = whole(1, LARGEST), whole(788_918_400, LARGEST), one_of("0", "1")


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


PUBLISHED = {
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
}
