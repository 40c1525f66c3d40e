"""The formats in which Amazon's reviews were published: 2014, 2018 and 2023."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mtlzoo.datamodules.checks import require
from mtlzoo.datamodules.json_lines import Types, read_json_lines
from mtlzoo.datamodules.reading import read_csv

_STRINGS = pl.List(pl.String())
RELATED = ("also_viewed", "also_bought")


@dataclass(frozen=True)
class Release:
    """Names of files and keys of one release; ``{}`` in a name stands for the category.

    Args:
        csv: Ratings alone; then their columns in the file's order (with a first line of names in 2023).
        columns: Of the CSV file: user, item, rating and timestamp.
        named: Whether the CSV file has a line of names.
        json: Reviews, an object per line, the first of these that is there.
        keys: Of the reviews: user, item, rating, timestamp.
        outcomes: Further keys of the reviews and their types.
        verified: Whether the purchase was verified.
        helpful: Whether somebody found the review helpful.
        per_second: Units of the timestamp in a second.
        meta: Metadata of the products.
        meta_types: Keys of the metadata and their types; the first is the item.
        links: By links: what the metadata say an item is linked with.
        category: The innermost categories of an item.
    """

    csv: tuple[str, ...]
    columns: tuple[str, ...]
    named: bool
    json: tuple[str, ...]
    keys: tuple[str, ...]
    outcomes: Types
    verified: pl.Expr | None
    helpful: pl.Expr
    per_second: int
    meta: tuple[str, ...]
    meta_types: Types
    links: Mapping[str, pl.Expr]
    category: pl.Expr


def _either(name: str) -> tuple[str, str]:
    return name, f"{name}.gz"


_OLD = ("reviewerID", "asin", "overall", "unixReviewTime")
RELEASES: dict[str, Release] = {
    "2014": Release(
        csv=_either("ratings_{}.csv"),
        columns=("user", "item", "rating", "timestamp"),
        named=False,
        json=(*_either("reviews_{}_5.json"), *_either("reviews_{}.json")),
        keys=_OLD,
        outcomes={"helpful": pl.List(pl.Int64())},
        verified=None,
        helpful=pl.col("helpful").list.first().fill_null(0) > 0,
        per_second=1,
        meta=_either("meta_{}.json"),
        meta_types={
            "asin": pl.String(),
            "related": pl.Struct(dict.fromkeys(RELATED, _STRINGS)),
            "categories": pl.List(_STRINGS),
        },
        links={name: pl.col("related").struct.field(name) for name in RELATED},
        category=pl.col("categories").list.eval(pl.element().list.last()),
    ),
    "2018": Release(
        csv=_either("{}.csv"),
        columns=("item", "user", "rating", "timestamp"),
        named=False,
        json=(*_either("{}_5.json"), *_either("{}.json")),
        keys=_OLD,
        outcomes={"verified": pl.Boolean(), "vote": (pl.String(), pl.Int64())},
        verified=pl.col("verified"),
        helpful=pl.col("vote").cast(pl.String).str.replace_all(",", "").cast(pl.Int64).fill_null(0) > 0,
        per_second=1,
        meta=_either("meta_{}.json"),
        meta_types={"asin": pl.String(), "also_view": _STRINGS, "also_buy": _STRINGS, "category": _STRINGS},
        links={"also_viewed": pl.col("also_view"), "also_bought": pl.col("also_buy")},
        category=pl.col("category").list.tail(1),
    ),
    "2023": Release(
        csv=_either("{}.csv"),
        columns=("user_id", "parent_asin", "rating", "timestamp"),
        named=True,
        json=_either("{}.jsonl"),
        keys=("user_id", "parent_asin", "rating", "timestamp"),
        outcomes={"verified_purchase": pl.Boolean(), "helpful_vote": pl.Int64()},
        verified=pl.col("verified_purchase"),
        helpful=pl.col("helpful_vote").fill_null(0) > 0,
        per_second=1000,
        meta=_either("meta_{}.jsonl"),
        meta_types={"parent_asin": pl.String(), "bought_together": _STRINGS, "categories": _STRINGS},
        links={"also_bought": pl.col("bought_together")},
        category=pl.col("categories").list.tail(1),
    ),
}
"""By year. 2018's ratings-only files have the item first."""

_NAMES = ("user", "item", "rating", "timestamp")
_TYPES: dict[str, pl.DataType] = {
    "user": pl.String(),
    "item": pl.String(),
    "rating": pl.Float64(),
    "timestamp": pl.Int64(),
}


def read_reviews(path: Path, release: Release) -> Iterator[pl.DataFrame]:
    """Columns user, item, rating and timestamp (seconds since 1970) and, of files of JSON, verified and helpful.

    Raises:
        DataError: A line that is none, a missing user or item, a rating outside of 1 to 5.
    """
    if ".csv" in path.name:
        frames = _table(path, release)
    else:
        types = dict(zip(release.keys, _TYPES.values(), strict=True))
        frames = read_json_lines(path, {**types, **release.outcomes})
        frames = (frame.rename(dict(zip(release.keys, _NAMES, strict=True))) for frame in frames)
        verified = pl.lit(None, pl.Int8) if release.verified is None else release.verified.cast(pl.Int8)
        frames = (frame.with_columns(verified=verified, helpful=release.helpful.cast(pl.Int8)) for frame in frames)
    first = 1
    for frame in frames:
        rows = range(first, first + len(frame))
        for name in ("user", "item"):
            require(frame[name].is_not_null(), frame[name], name, rows, f"an id in every review of {path}")
        good = frame["rating"].is_between(1, 5).fill_null(False)
        require(good, frame["rating"], "rating", rows, f"1 to 5 in every review of {path}")
        yield frame.with_columns(pl.col("timestamp") // release.per_second)
        first = rows.stop


def _table(path: Path, release: Release) -> Iterator[pl.DataFrame]:
    if not release.named:
        return read_csv(path, columns=_TYPES, header=release.columns)
    types = dict(zip(release.columns, _TYPES.values(), strict=True))
    names = dict(zip(release.columns, _NAMES, strict=True))
    return (frame.rename(names) for frame in read_csv(path, columns=types))


def read_related(path: Path, release: Release, name: str) -> Iterator[pl.DataFrame]:
    """Pairs of items that the metadata link (``source``, ``target``), or for category ``id`` and ``group``."""
    item = next(iter(release.meta_types))
    linked = release.category if name == "category" else release.links[name]
    source, target = ("id", "group") if name == "category" else ("source", "target")
    for frame in read_json_lines(path, release.meta_types):
        pairs = frame.select(pl.col(item).alias(source), linked.alias(target)).explode(target)
        yield pairs.drop_nulls()
