"""MovieLens' archives and the formats of their files: with tabs (100K), with ``::`` (1M), CSV (20M and later)."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias

import polars as pl
from typing_extensions import override

from mtlzoo.datamodules.columns import CategoricalColumn, Column, NumericColumn
from mtlzoo.datamodules.reading import read_csv
from mtlzoo.datamodules.values.checks import require
from mtlzoo.datamodules.values.domains import HIGHEST_ID, Domain, flag, one_of, seconds, stars, text, whole

_ACTION_TO_ANIMATION = ("Action", "Adventure", "Animation")
_COMEDY_TO_WESTERN = (
    *("Comedy", "Crime", "Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance"),
    *("Sci-Fi", "Thriller", "War", "Western"),
)
OLD_GENRES = (*_ACTION_TO_ANIMATION, "Children's", *_COMEDY_TO_WESTERN)
"""The 18 genres of 100K and 1M."""
GENRES = (*_ACTION_TO_ANIMATION, "Children", *_COMEDY_TO_WESTERN, "IMAX")
"""The 19 genres of 20M and later."""
NOT_LISTED = "(no genres listed)"
"""What stands where nobody knows the genre of a film; 100K has a flag for it."""
OCCUPATIONS = (
    *("administrator", "artist", "doctor", "educator", "engineer", "entertainment", "executive", "healthcare"),
    *("homemaker", "lawyer", "librarian", "marketing", "none", "other", "programmer", "retired", "salesman"),
    *("scientist", "student", "technician", "writer"),
)
"""Of 100K; 1M has numbers from 0 to 20."""
AGES = (1, 18, 25, 35, 45, 50, 56)
"""Brackets of 1M, by where they begin."""
ID = whole(1, HIGHEST_ID)
RATING = {"user": ID, "item": ID, "rating": stars(), "timestamp": seconds()}
ZIP = text("[0-9A-Z]{5}([0-9]{0,4}|-[0-9]{4})", "a code of five to nine digits, or of five letters and digits")
GENDER = one_of(["F", "M"])
AGE = Domain(f"one of {list(AGES)}", lambda ages: ages.is_in(AGES))
_PERSON = (*(CategoricalColumn(name) for name in ("gender", "occupation", "zip")),)
_YEAR = r"\(((?:18|19|20)[0-9]{2})(?:[-–][0-9]{0,4})?\)\s*$"


class Format(ABC):
    """How one family of versions is written.

    Attributes:
        names: Files that every version has: ratings, films and, where there are any, users.
        genres: Genres, by the number that stands for each.
        person: What the users' table has as features.
    """

    names: ClassVar[tuple[str, ...]]
    genres: ClassVar[tuple[str, ...]]
    person: ClassVar[tuple[Column, ...]] = ()

    @abstractmethod
    def ratings(self, path: Path) -> Iterator[pl.DataFrame]:
        """Columns user, item, rating and timestamp (seconds since 1970), in file order."""

    @abstractmethod
    def films(self, path: Path) -> pl.DataFrame:
        """Columns item, year (null where the title has none) and genres (numbers; null where none are listed)."""

    def users(self, path: Path) -> pl.DataFrame:
        """Ids and the columns of `person`; of versions that have such a file."""
        raise NotImplementedError


class Tabs(Format):
    """100K: ratings with tabs, the other files with ``|`` and in latin-1, without names of columns."""

    names = ("u.data", "u.item", "u.user")
    genres = OLD_GENRES
    person = (*_PERSON, NumericColumn("age", buckets=8))

    @override
    def ratings(self, path: Path) -> Iterator[pl.DataFrame]:
        return read_csv(path, columns=RATING, header=list(RATING), separator="\t")

    @override
    def films(self, path: Path) -> pl.DataFrame:
        flags = ("unknown", *self.genres)
        header = ["item", "title", "released", "video", "url", *flags]
        table = pl.concat(_bars(path, {"item": ID, "title": text(), **dict.fromkeys(flags, flag())}, header))
        numbers = (pl.when(pl.col(name) == 1).then(pl.lit(i, pl.Int64)) for i, name in enumerate(self.genres))
        table = table.with_columns(genres=pl.concat_list(list(numbers)).list.drop_nulls())
        fitting = (table["genres"].list.len() > 0) != (table["unknown"] == 1)
        lines = range(1, len(table) + 1)
        require(
            fitting, table["title"], "genres", lines, f"a film of one genre at least, or of 'unknown' alone, in {path}"
        )
        return table.select("item", _year(), genres=pl.when(pl.col("unknown") == 0).then("genres"))

    @override
    def users(self, path: Path) -> pl.DataFrame:
        columns = {"user": ID, "age": whole(1, 120), "gender": GENDER, "occupation": one_of(OCCUPATIONS), "zip": ZIP}
        return pl.concat(_bars(path, columns, list(columns))).with_columns(_centre())


class Colons(Format):
    """1M: fields between ``::``, in latin-1, without names of columns; ages are brackets, occupations are numbers."""

    names = ("ratings.dat", "movies.dat", "users.dat")
    genres = OLD_GENRES
    person = (*_PERSON, CategoricalColumn("age"))

    @override
    def ratings(self, path: Path) -> Iterator[pl.DataFrame]:
        return _colons(path, RATING)

    @override
    def films(self, path: Path) -> pl.DataFrame:
        table = pl.concat(_colons(path, {"item": ID, "title": text(), "genres": _listed(self.genres)}))
        return table.select("item", _year(), genre_numbers(table["genres"], self.genres))

    @override
    def users(self, path: Path) -> pl.DataFrame:
        columns = {"user": ID, "gender": GENDER, "age": AGE, "occupation": whole(0, 20), "zip": ZIP}
        return pl.concat(_colons(path, columns)).with_columns(_centre())


class Commas(Format):
    """20M, 25M, 32M and latest-small: CSV in UTF-8; titles are quoted where they hold a comma; users have no table."""

    names = ("ratings.csv", "movies.csv")
    genres = GENRES

    @override
    def ratings(self, path: Path) -> Iterator[pl.DataFrame]:
        columns = {"userId": ID, "movieId": ID, "rating": stars(half=True), "timestamp": seconds()}
        for rows in read_csv(path, columns=columns):
            yield rows.rename(dict(zip(columns, RATING, strict=True)))

    @override
    def films(self, path: Path) -> pl.DataFrame:
        columns = {"movieId": ID, "title": text(), "genres": _listed(self.genres)}
        table = pl.concat(read_csv(path, columns=columns))
        return table.select(pl.col("movieId").alias("item"), _year(), genre_numbers(table["genres"], self.genres))


def _listed(genres: Sequence[str]) -> Domain:
    """Texts such as ``Drama|War``."""

    def good(texts: pl.Series) -> pl.Series:
        return (texts == NOT_LISTED) | texts.str.split("|").list.eval(pl.element().is_in(genres)).list.all()

    return Domain(f"genres between '|', of {list(genres)}, or {NOT_LISTED!r}", good, pl.String)


def genre_numbers(texts: pl.Series, genres: Sequence[str]) -> pl.Series:
    """Texts such as ``Drama|War`` as lists of places in `genres`; null where none are listed."""
    lists = pl.select(pl.when(texts != NOT_LISTED).then(texts.str.split("|"))).to_series()
    numbers = pl.element().replace_strict(genres, range(len(genres)), return_dtype=pl.Int64)
    return lists.list.eval(numbers).alias(texts.name)


def _bars(path: Path, columns: Mapping[str, Domain], header: Sequence[str]) -> Iterator[pl.DataFrame]:
    return read_csv(path, columns=columns, header=header, separator="|", encoding="latin-1", quote=False)


def _colons(path: Path, columns: Mapping[str, Domain]) -> Iterator[pl.DataFrame]:
    return read_csv(path, columns=columns, header=list(columns), separator="::", encoding="latin-1", quote=False)


def _centre() -> pl.Expr:
    """The sorting centre: codes are texts, with leading zeros, letters and, now and then, nine digits."""
    return pl.col("zip").str.slice(0, 3)


def _year() -> pl.Expr:
    """The year at the end of a title; the dates that 100K has too are often those of a later release in the US."""
    return pl.col("title").str.extract(_YEAR).cast(pl.Int64).alias("year")


@dataclass(frozen=True)
class Edition:
    """One of the publisher's archives.

    Args:
        format: How its files are written.
        md5: Of the archive; empty where the publisher changes it.
    """

    format: Format
    md5: str


EDITIONS = {
    "100k": Edition(Tabs(), "0e33842e24a9c977be4e0107933c0723"),
    "1m": Edition(Colons(), "c4d9eecfca2ab87c1945afe126590906"),
    "20m": Edition(Commas(), "cd245b17a1ae2cc31bb14903e1204af3"),
    "25m": Edition(Commas(), "6b51fb2759a8657d3bfcbfc42b592ada"),
    "32m": Edition(Commas(), "d472be332d4daa821edc399621853b57"),
    "latest-small": Edition(Commas(), ""),
}

Version: TypeAlias = Literal["100k", "1m", "20m", "25m", "32m", "latest-small"]
