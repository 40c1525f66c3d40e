"""The formats in which Amazon's reviews were published: 2014, 2018 and 2023."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from mtlzoo.datamodules.reading import read_csv, read_json_lines
from mtlzoo.datamodules.values.checks import require
from mtlzoo.datamodules.values.domains import Domain, id_text, seconds, stars, whole

_STRINGS = pl.List(pl.String())


class Key(NamedTuple):
    """What one key of an object says.

    Args:
        name: The key.
        dtype: Its type, several that occur, or what it may hold.
        said: What it says, from the column of that name.
    """

    name: str
    dtype: Any
    said: pl.Expr


@dataclass(frozen=True)
class Release:
    """Names of files and keys of one release; ``{}`` in a name stands for the category.

    Args:
        json: Reviews, an object per line, the first of these that is there.
        keys: Of the reviews: user, item, rating, timestamp.
        csv: Ratings alone, for where there are no reviews.
        columns: Of the CSV file, in its order; where it has a line of names, user, item, rating and timestamp.
        named: Whether the CSV file has a line of names.
        outcomes: By task, what tells it; 1, 0 or, where it makes no sense, null.
        per_second: Units of the timestamp in a second.
        meta: Metadata of the products.
        item: The product, in the metadata.
        links: By links, what a product is linked with: products or, for category, its innermost categories.
    """

    json: tuple[str, ...]
    keys: tuple[str, ...]
    csv: tuple[str, ...]
    columns: tuple[str, ...]
    named: bool
    outcomes: Mapping[str, Key]
    per_second: int
    meta: tuple[str, ...]
    item: str
    links: Mapping[str, Key]


def _either(name: str) -> tuple[str, str]:
    return name, f"{name}.gz"


def _above_zero(votes: pl.Expr) -> pl.Expr:
    return (votes > 0).cast(pl.Int8)


def _list(name: str) -> Key:
    return Key(name, _STRINGS, pl.col(name))


_VOTES = pl.col("vote").cast(pl.String).str.strip_chars()
_OF_HOW_MANY = Domain(
    "[3, 4], as three of four found it helpful",
    lambda votes: (votes.list.len() == 2) & votes.list.eval((pl.element() >= 0).fill_null(False)).list.all(),
    pl.List(pl.Int64()),
)
_DIGITS = "^([0-9]{1,18}|[0-9]{1,3}(,[0-9]{3}){1,5})$"
"""``12``, or as 2018 has it ``1,234``."""
_RELATED = pl.Struct({"also_viewed": _STRINGS, "also_bought": _STRINGS})
_NAMES = ("user", "item", "rating", "timestamp")
_OLD = ("reviewerID", "asin", "overall", "unixReviewTime")
_NEW = ("user_id", "parent_asin", "rating", "timestamp")
RELEASES: dict[str, Release] = {
    "2014": Release(
        json=(*_either("reviews_{}_5.json"), *_either("reviews_{}.json")),
        keys=_OLD,
        csv=_either("ratings_{}.csv"),
        columns=_NAMES,
        named=False,
        outcomes={"helpful": Key("helpful", _OF_HOW_MANY, _above_zero(pl.col("helpful").list.first()))},
        per_second=1,
        meta=_either("meta_{}.json"),
        item="asin",
        links={
            "also_viewed": Key("related", _RELATED, pl.col("related").struct.field("also_viewed")),
            "also_bought": Key("related", _RELATED, pl.col("related").struct.field("also_bought")),
            "category": Key("categories", pl.List(_STRINGS), pl.col("categories").list.eval(pl.element().list.last())),
        },
    ),
    "2018": Release(
        json=(*_either("{}_5.json"), *_either("{}.json")),
        keys=_OLD,
        csv=_either("{}.csv"),
        columns=("item", "user", "rating", "timestamp"),
        named=False,
        outcomes={
            "verified": Key("verified", pl.Boolean(), pl.col("verified").cast(pl.Int8)),
            "helpful": Key(
                "vote",
                (pl.String(), pl.Int64()),
                # Missing where there are none.
                pl.when(_VOTES.fill_null("") == "")
                .then(0)
                .when(_VOTES.str.contains(_DIGITS))
                .then(_VOTES.str.contains("[1-9]")),
            ),
        },
        per_second=1,
        meta=_either("meta_{}.json"),
        item="asin",
        links={
            "also_viewed": _list("also_view"),
            "also_bought": _list("also_buy"),
            "category": Key("category", _STRINGS, pl.col("category").list.tail(1)),
        },
    ),
    "2023": Release(
        json=_either("{}.jsonl"),
        keys=_NEW,
        csv=_either("{}.csv"),
        columns=_NEW,
        named=True,
        outcomes={
            "verified": Key("verified_purchase", pl.Boolean(), pl.col("verified_purchase").cast(pl.Int8)),
            "helpful": Key("helpful_vote", whole(), _above_zero(pl.col("helpful_vote"))),
        },
        per_second=1000,
        meta=_either("meta_{}.jsonl"),
        item="parent_asin",
        links={
            "also_bought": _list("bought_together"),
            "category": Key("categories", _STRINGS, pl.col("categories").list.tail(1)),
        },
    ),
}
"""By year. 2018's ratings-only files have the item first."""


def _domains(release: Release) -> dict[str, Domain]:
    """What user, item, rating and timestamp may be. No time is needed, as none is used."""
    times = seconds(per_second=release.per_second, missing=True)
    return dict(zip(_NAMES, (id_text(), id_text(), stars(), times), strict=True))


def read_reviews(path: Path, release: Release, outcomes: Collection[str] = ()) -> Iterator[pl.DataFrame]:
    """Columns user, item, rating and timestamp (seconds since 1970) and, of files of JSON, the outcomes.

    Raises:
        DataError: A line that is none, a user or item that is no id, a rating that is not 1 to 5 whole stars, a time
            that is none, votes that are no number.
    """
    for frame in _table(path, release) if ".csv" in path.name else _objects(path, release, outcomes):
        yield frame.with_columns(pl.col("timestamp") // release.per_second)


def _objects(path: Path, release: Release, outcomes: Collection[str]) -> Iterator[pl.DataFrame]:
    names = dict(zip(release.keys, _NAMES, strict=True))
    wanted = {task: release.outcomes[task] for task in outcomes}
    domains = dict(zip(release.keys, _domains(release).values(), strict=True))
    first = 1
    for frame in read_json_lines(path, {**domains, **{key.name: key.dtype for key in wanted.values()}}):
        rows = range(first, first + len(frame))
        said = frame.select(key.said.alias(task) for task, key in wanted.items())
        if "helpful" in wanted:
            votes = wanted["helpful"].name
            require(said["helpful"].is_not_null(), frame[votes], votes, rows, f"a number, or none, in {path}")
        yield frame.select(release.keys).rename(names).hstack(said)
        first = rows.stop


def _table(path: Path, release: Release) -> Iterator[pl.DataFrame]:
    domains = _domains(release)
    if not release.named:
        return read_csv(path, columns=domains, header=release.columns)
    names = dict(zip(release.columns, _NAMES, strict=True))
    columns = {column: domains[name] for column, name in names.items()}
    return (frame.rename(names) for frame in read_csv(path, columns=columns))


def read_related(path: Path, release: Release, name: str) -> Iterator[pl.DataFrame]:
    """Pairs of items that the metadata link (``source``, ``target``), or for category ``id`` and ``group``."""
    key = release.links[name]
    source, target = ("id", "group") if name == "category" else ("source", "target")
    for frame in read_json_lines(path, {release.item: id_text(), key.name: key.dtype}):
        linked = frame.select(pl.col(release.item).alias(source), key.said.alias(target)).explode(target)
        yield linked.filter(pl.col(target) != "")
