"""The three formats of MovieLens' files: tables with tabs (100K), with ``::`` (1M), and CSV (20M and later)."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import polars as pl
from typing_extensions import override

from mtlzoo.datamodules.checks import require
from mtlzoo.datamodules.columns import CategoricalColumn, Column, NumericColumn
from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.reading import read_csv

_ACTION_TO_ANIMATION = ("Action", "Adventure", "Animation")
_COMEDY_TO_WESTERN = (
    *("Comedy", "Crime", "Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance"),
    *("Sci-Fi", "Thriller", "War", "Western"),
)
OLD_GENRES = (*_ACTION_TO_ANIMATION, "Children's", *_COMEDY_TO_WESTERN)
"""The 18 genres of 100K and 1M."""
GENRES = (*_ACTION_TO_ANIMATION, "Children", *_COMEDY_TO_WESTERN, "IMAX")
"""The 19 genres of 20M and later."""
NOT_LISTED = ("(no genres listed)", "unknown")
"""What stands where nobody knows the genre of a film."""
RATING = {"user": pl.Int64, "item": pl.Int64, "rating": pl.Float64, "timestamp": pl.Int64}
_PERSON = (*(CategoricalColumn(name) for name in ("gender", "occupation", "zip")),)
_YEAR = r"\((\d{4})(?:[-–]\d{0,4})?\)\s*$"  # noqa: RUF001  (series have a dash between two years)


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
        flags = (NOT_LISTED[1], *self.genres)
        header = ["item", "title", "released", "video", "url", *flags]
        types = {"item": pl.Int64, "title": pl.String} | dict.fromkeys(flags, pl.Int64)
        table = _bars(path, types, header)
        numbers = (pl.when(pl.col(name) == 1).then(pl.lit(i, pl.Int64)) for i, name in enumerate(self.genres))
        genres = pl.concat_list(list(numbers)).list.drop_nulls()
        return table.select("item", _year(), genres=pl.when(pl.col(NOT_LISTED[1]) == 0).then(genres))

    @override
    def users(self, path: Path) -> pl.DataFrame:
        names = ["user", "age", "gender", "occupation", "zip"]
        types = dict.fromkeys(names, pl.String) | {"user": pl.Int64, "age": pl.Int64}
        return _bars(path, types, names).with_columns(_zip())


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
        types = {"item": pl.Int64, "title": pl.String, "genres": pl.String}
        table = pl.concat(_colons(path, types))
        return table.select("item", _year(), genre_numbers(table["genres"], self.genres))

    @override
    def users(self, path: Path) -> pl.DataFrame:
        types = {"user": pl.Int64, "gender": pl.String, "age": pl.Int64, "occupation": pl.Int64, "zip": pl.String}
        return pl.concat(_colons(path, types)).with_columns(_zip())


class Commas(Format):
    """20M, 25M, 32M and latest-small: CSV in UTF-8; titles are quoted where they hold a comma; users have no table."""

    names = ("ratings.csv", "movies.csv")
    genres = GENRES

    @override
    def ratings(self, path: Path) -> Iterator[pl.DataFrame]:
        columns = dict(zip(("userId", "movieId", "rating", "timestamp"), RATING.items(), strict=True))
        for rows in read_csv(path, columns={theirs: dtype for theirs, (_, dtype) in columns.items()}):
            yield rows.rename({theirs: name for theirs, (name, _) in columns.items()})

    @override
    def films(self, path: Path) -> pl.DataFrame:
        types = {"movieId": pl.Int64, "title": pl.String, "genres": pl.String}
        table = pl.concat(read_csv(path, columns=types))
        return table.select(pl.col("movieId").alias("item"), _year(), genre_numbers(table["genres"], self.genres))


def genre_numbers(texts: pl.Series, genres: Sequence[str]) -> pl.Series:
    """Texts such as ``Drama|War`` as lists of places in `genres`; null where none are listed.

    Raises:
        DataError: A genre that is not one of them.
    """
    lists = pl.select(pl.when(~texts.is_in(NOT_LISTED)).then(texts.str.split("|"))).to_series()
    good = lists.list.eval(pl.element().is_in(genres)).list.all()
    require(good, texts, texts.name, None, f"genres between '|', of {list(genres)}")
    numbers = pl.element().replace_strict(genres, range(len(genres)), return_dtype=pl.Int64)
    return lists.list.eval(numbers).alias(texts.name)


def _bars(path: Path, types: Mapping[str, type[pl.DataType]], header: Sequence[str]) -> pl.DataFrame:
    return pl.concat(read_csv(path, columns=types, header=header, separator="|", encoding="latin-1", quote=False))


def _colons(path: Path, types: Mapping[str, type[pl.DataType]]) -> Iterator[pl.DataFrame]:
    """Rows of a file whose fields stand between ``::``; no reader of tables takes two characters for a separator."""
    line, names = 1, list(types)
    # A separator that no text has: whole lines.
    whole = read_csv(
        path, columns={"line": pl.String}, header=["line"], separator="\x1f", encoding="latin-1", quote=False
    )
    for frame in whole:
        fields = frame["line"].str.split("::")
        wrong = fields.list.len() != len(names)
        if wrong.any():
            at = int(wrong.arg_true()[0])
            raise DataError(
                f"{path}, line {line + at}: {len(fields[at])} fields where {len(names)} are expected "
                f"({frame['line'][at][:80]!r}). Repair the line, or get the file again."
            )
        texts = fields.list.to_struct(fields=names).struct.unnest()
        numbers = texts.with_columns(pl.col(name).cast(dtype, strict=False) for name, dtype in types.items())
        for name, dtype in types.items():
            rows = range(line, line + len(frame))
            require(numbers[name].is_not_null(), texts[name], name, rows, f"{dtype.__name__} in every line of {path}")
        yield numbers
        line += len(frame)


def _year() -> pl.Expr:
    """The year at the end of a title; the dates that 100K has too are often those of a later release in the US."""
    return pl.col("title").str.extract(_YEAR).cast(pl.Int64).alias("year")


def _zip() -> pl.Expr:
    """The sorting centre: codes are texts, with leading zeros, letters and, now and then, nine digits."""
    return pl.col("zip").str.slice(0, 3)
