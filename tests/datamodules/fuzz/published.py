"""The forms of the files that the fixtures write, by data set, and more fixtures in the forms of other releases."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

import mtlzoo.datamodules
from fixtures import aliexpress as aliexpress_files
from fixtures import amazon, movielens, tabular, yelp
from fuzz.forms import (
    LARGEST,
    Columns,
    Form,
    Matrix,
    Objects,
    Strings,
    Table,
    integer,
    listed,
    maybe,
    number,
    one_of,
    real,
    string,
    text,
    whole,
)
from mtlzoo.datamodules import (
    AliExpress,
    AmazonReviews,
    MovieLens,
    MultiTaskDataModule,
    TabularDataModule,
    Yelp,
    aliexpress,
    census,
    tiktok,
)
from mtlzoo.datamodules.aliccp import FIELDS, SEQUENCES
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


# ---- Kuaishou

CODE = maybe(whole(0, 2**53, -124, points=True))
COUNT, NAMES = maybe(number(0)), maybe(text())
_COUNTS = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
_USER = {
    "user_id": whole(),
    **dict.fromkeys(("user_active_degree", *(f"{name}_range" for name in _COUNTS)), NAMES),
    **dict.fromkeys(("is_live_streamer", "is_video_author", *(f"onehot_feat{i}" for i in range(18))), CODE),
    **dict.fromkeys(_COUNTS, COUNT),
}


def _day(first: str, last: str) -> Callable[[str], bool]:
    days = [date.fromisoformat(first) + timedelta(days=after) for after in range(100)]
    among = {int(f"{day:%Y%m%d}") for day in days if day <= date.fromisoformat(last)}
    return lambda value: number()(value) and float(value) in among


def _hourmin(value: str) -> bool:
    return whole(0, 2359)(value) and int(value) % 100 < 60


_LOG = Table(
    columns={
        **dict.fromkeys(("user_id", "video_id"), whole()),
        "date": lambda value: whole()(value) and _day("2022-04-08", "2022-05-08")(value),
        "hourmin": _hourmin,
        "time_ms": whole(1_649_289_600_000, 1_652_140_800_000),
        "tab": whole(0, 14),
        **dict.fromkeys(("is_click", "is_hate"), whole(0, 1)),
        "play_time_ms": whole(),
    }
)
KUAIRAND: dict[str, Form] = {
    "log_standard_4_08_to_4_21_pure.csv": _LOG,
    "log_standard_4_22_to_5_08_pure.csv": _LOG,
    "user_features_pure.csv": Table("table", "user_id", columns=_USER),
    "video_features_basic_pure.csv": Table(
        "table",
        "video_id",
        columns={
            "video_id": whole(),
            **dict.fromkeys(("video_type", "upload_type"), NAMES),
            "tag": maybe(text("-?[0-9]+(,-?[0-9]+)*")),
            **dict.fromkeys(("author_id", "music_id", "music_type", "server_width", "server_height"), CODE),
            "video_duration": COUNT,
        },
    ),
}
KUAIREC: dict[str, Form] = {
    "big_matrix.csv": Table(
        columns={
            **dict.fromkeys(("user_id", "video_id"), whole()),
            **dict.fromkeys(("play_duration", "video_duration", "watch_ratio"), COUNT),
            "time": maybe(
                text("2020-0[789]-(0[1-9]|[12][0-9]|3[01]) ([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]+)?")
            ),
            "date": _day("2020-07-01", "2020-09-30"),
            "timestamp": maybe(number(1_593_475_200, 1_601_596_800)),
        }
    ),
    "user_features.csv": Table("table", "user_id", columns=_USER),
    "item_categories.csv": Table(
        "table",
        "video_id",
        columns={
            "video_id": whole(),
            "feat": maybe(text(r"\[ *(-?[0-9]{1,18} *(, *-?[0-9]{1,18} *)*)?\]")),
        },
    ),
    "item_daily_features.csv": Table(
        "table",
        "video_id",
        columns={
            "video_id": whole(),
            **dict.fromkeys(("video_type", "upload_type"), NAMES),
            **dict.fromkeys(("author_id", "music_id", "video_tag_id"), CODE),
        },
    ),
}

# ---- Tencent, ByteDance, Alibaba, UCI

_HISTORY = tuple(f"hist_{i}" for i in range(1, 11))
TENREC: dict[str, Form] = {
    "ctr_data_1M.csv": Table(
        columns={
            **dict.fromkeys(("user_id", "item_id"), whole()),
            **dict.fromkeys(("video_category", "gender", "age", *_HISTORY), maybe(whole(), r"\N")),
            **dict.fromkeys(("click", "like"), maybe(whole(0, 1, points=True), r"\N")),
            "watching_times": maybe(number(0), r"\N"),
        }
    )
}
TIKTOK: dict[str, Form] = {
    "final_track1_train.txt": Table(
        columns={
            name: whole() if name == "uid" else maybe(whole(0, 1) if name in ("finish", "like") else whole(), "-1")
            for name in tiktok.NAMES
        },
        names=tiktok.NAMES,
        by="\t",
        quoted=False,
    )
}


def _fields(role: Any, names: tuple[str, ...]) -> Table:
    allowed: dict[str, Any] = dict.fromkeys(aliexpress.CODES, maybe(whole(0, LARGEST, points=True)))
    allowed |= {"search_id": text(), "item_49": whole(0, 2, points=True)}
    columns = {name: allowed.get(name, maybe(number())) for name in names}
    return Table(role, "search_id", columns=columns, names=names, quoted=False)


ALIEXPRESS: dict[str, Form] = {
    f"nl_{kind}_{part}.csv": _fields(*about)
    for part in ("train", "test")
    for kind, about in (("user", ("table", aliexpress.USER)), ("item", ("rows", aliexpress.ITEM)))
}
MTRECLIB: dict[str, Form] = {
    f"{part}.csv": Table(
        columns={
            "search_id": text(),
            **{f"categorical_{i}": maybe(whole(0, LARGEST, points=True)) for i in range(1, 17)},
            **{f"numerical_{i}": maybe(number()) for i in range(1, 64)},
            **dict.fromkeys(("click", "conversion"), whole(0, 1, points=True)),
        },
        quoted=False,
        together=lambda row: float(row["conversion"]) <= float(row["click"]),
    )
    for part in ("train", "test")
}


def _mtreclib(root: Path) -> AliExpress:
    return AliExpress(aliexpress_files.write_aliexpress(root, layout="mtreclib", rows=300))


_SINGLE = tuple(number for name, number in FIELDS.items() if name not in SEQUENCES)
_INDEX = text("[0-9a-f]{16}")
ALICCP: dict[str, Form] = {
    f"{stem}_{part}.csv": form
    for part in ("train", "test")
    for stem, form in (
        (
            "sample_skeleton",
            Strings(
                columns={
                    "sample_id": whole(),
                    **dict.fromkeys(("click", "conversion"), whole(0, 1)),
                    "index": text(),
                    "count": whole(),
                    "strings": maybe(text()),
                },
                names=("sample_id", "click", "conversion", "index", "count", "strings"),
                quoted=False,
                single=_SINGLE,
            ),
        ),
        (
            "common_features",
            Strings(
                "table",
                "index",
                "group",
                columns={"index": _INDEX, "count": whole(), "strings": maybe(text())},
                names=("index", "count", "strings"),
                quoted=False,
                single=_SINGLE,
            ),
        ),
    )
}
_CENSUS = Table(
    columns={
        **dict.fromkeys(census.NAMES, text()),
        **dict.fromkeys(census.NUMBERS, whole()),
        **{name: one_of(*map(str, codes)) for name, codes in census.CODES.items()},
        "education": one_of(*census.EDUCATIONS),
        "marital_stat": one_of(*census.MARITAL),
        "instance_weight": number(0),
        "year": one_of("94", "95"),
        "income_50k": one_of("- 50000.", "50000+."),
    },
    names=census.NAMES,
    quoted=False,
    strip=True,
)

# ---- anybody's tables

_WORDS_OF_TWO = ("0", "1", "0.0", "1.0")
_TABULAR = {
    **dict.fromkeys(("user_id", "item_id"), maybe(text())),
    **dict.fromkeys(("price", "age"), maybe(number())),
    "tags": maybe(text()),
    "click": maybe(number(0, 1, step=1)),
    "rating": maybe(number()),
    "kind": maybe(number(0, 2, step=1)),
    "day": number(),
    "importance": number(0),
}


def _tabular(suffix: str) -> Build:
    def build(root: Path) -> TabularDataModule:
        if suffix == ".tsv":
            tabular.write_table(root, ".csv", rows=300)
            pl.read_csv(root / "clicks.csv", infer_schema=False).write_csv(root / "clicks.tsv", separator="\t")
            (root / "clicks.csv").unlink()
        else:
            tabular.write_table(root, suffix, rows=300)
        return TabularDataModule(root, schema_file="schema.yaml")

    return build


def _finite(value: Any) -> bool:
    return value is None or (isinstance(value, bool | int | float) and (value != value or abs(value) < 3.4e38))


def _in(*numbers: float) -> Callable[[Any], bool]:
    return lambda value: value is None or value != value or value in numbers


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
    "KuaiRand": Published(KUAIRAND, ignored=("split", "user_shown", "user_click_rate")),
    "KuaiRec": Published(KUAIREC),
    "Tenrec": Published(TENREC),
    "TikTok": Published(TIKTOK),
    "AliExpress": Published(ALIEXPRESS),
    "AliExpress ready": Published(MTRECLIB, build=_mtreclib),
    "AliCCP": Published(ALICCP, ignored=("split", "group")),
    "CensusIncome": Published({"census-income.data": _CENSUS, "census-income.test": _CENSUS}),
    "TabularDataModule": Published({"clicks.csv": Table(columns=_TABULAR)}),
    "TabularDataModule tsv": Published({"clicks.tsv": Table(columns=_TABULAR, by="\t")}, build=_tabular(".tsv")),
    "TabularDataModule parquet": Published(
        {"clicks.parquet": Columns(columns=dict.fromkeys(_TABULAR, lambda _: True))}, build=_tabular(".parquet")
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
