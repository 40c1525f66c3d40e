"""MovieLens' files of every version: what is read from each table, how they come, and what is missing or refused."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fixtures.movielens import UNKNOWN, write_movielens
from mtlzoo.datamodules import DataError, DatasetNotFoundError, MovieLens
from mtlzoo.datamodules.download import publisher as obtain
from mtlzoo.datamodules.movielens_files import GENRES, OLD_GENRES

VERSIONS = ("100k", "1m", "20m", "25m", "32m", "latest-small")


def rows_of(data: MovieLens) -> pl.DataFrame:
    return pl.concat(data.read())


def film(rows: pl.DataFrame, number: int) -> dict[str, Any]:
    return rows.filter(pl.col("item") == number).row(0, named=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("plain", [False, True])
def test_every_version_is_read_wherever_its_folder_is(tmp_path: Path, version: Any, plain: bool) -> None:
    write_movielens(tmp_path, version, plain=plain)
    data = MovieLens(tmp_path, version=version, download=False)
    assert [task.name for task in data.schema.tasks] == ["rating", "genres", "interaction"]
    rows = rows_of(data)
    rated = rows.filter(pl.col("interaction") == 1)
    assert len(rated) * 2 == len(rows) == sum(data.data.manifest["rows"].values())
    assert rated.n_unique(["user", "item"]) == len(rated) > 500
    assert (rated["rating"] % 1 == 0).all() == (version in ("100k", "1m"))


@pytest.mark.parametrize("version", ["100k", "1m", "latest-small"])
def test_titles_of_every_kind_are_read(tmp_path: Path, version: Any) -> None:
    write_movielens(tmp_path, version)
    rows = rows_of(MovieLens(tmp_path, version=version))
    years = {number: film(rows, number)["year"] for number in (3, 4, 5, 6, 9, UNKNOWN)}
    assert years == {3: 1995, 4: 1996, 5: 1998, 6: None, 9: 1968, UNKNOWN: None}
    assert film(rows, 7)["year"] == (1975 if version == "latest-small" else 1937)


@pytest.mark.parametrize("version", ["100k", "1m", "32m"])
def test_genres_are_those_of_the_file(tmp_path: Path, version: Any) -> None:
    folder = write_movielens(tmp_path, version)
    found = {row["item"]: row["genres"] for row in rows_of(MovieLens(tmp_path, version=version)).iter_rows(named=True)}
    if version == "100k":
        fields = [line.split("|") for line in (folder / "u.item").read_text("latin-1").splitlines()]
        names = {int(f[0]): [OLD_GENRES[i] for i, flag in enumerate(f[6:]) if flag == "1"] for f in fields}
    elif version == "1m":
        fields = [line.split("::") for line in (folder / "movies.dat").read_text("latin-1").splitlines()]
        names = {int(f[0]): f[2].split("|") for f in fields}
    else:
        names = {row[0]: row[2].split("|") for row in pl.read_csv(folder / "movies.csv").rows()}
    known = OLD_GENRES if version in ("100k", "1m") else GENRES
    for number, genres in found.items():
        assert genres is None or [known[i] for i in genres] == names[number]


def test_people_are_as_the_file_says(tmp_path: Path) -> None:
    cases: tuple[tuple[Any, str, str], ...] = (("100k", "u.user", "|"), ("1m", "users.dat", "::"))
    for version, name, separator in cases:
        lines = (write_movielens(tmp_path, version) / name).read_text().splitlines()
        people = {int(line.split(separator)[0]): line.split(separator)[1:] for line in lines}
        for row in rows_of(MovieLens(tmp_path, version=version)).iter_rows(named=True):
            of = people[row["user"]]
            age, gender = (of[0], of[1]) if version == "100k" else (of[1], of[0])
            assert (str(row["age"]), row["gender"]) == (age, gender)
            assert (str(row["occupation"]), row["zip"]) == (of[2], of[3][:3])
        assert {row["zip"] for row in rows_of(MovieLens(tmp_path, version=version)).iter_rows(named=True)} == {
            *("857", "010", "T8H", "981", "000")
        }


def test_films_that_have_no_row_in_the_table(tmp_path: Path) -> None:
    path = write_movielens(tmp_path) / "movies.dat"
    path.write_bytes(b"".join(line for line in path.read_bytes().splitlines(True) if not line.startswith(b"10::")))
    rows = rows_of(MovieLens(tmp_path))
    assert film(rows, 10)["genres"] is film(rows, 10)["year"] is None
    assert sum(MovieLens(tmp_path).data.manifest["rows"].values()) == len(rows)


@pytest.mark.parametrize(
    ("version", "name"), [("1m", "movies.dat"), ("1m", "users.dat"), ("100k", "u.item"), ("32m", "movies.csv")]
)
def test_half_a_table_is_refused_and_less_is_counted(tmp_path: Path, version: Any, name: str) -> None:
    path = write_movielens(tmp_path, version) / name
    lines = path.read_bytes().splitlines(True)
    path.write_bytes(b"".join(lines[: len(lines) // 2]))
    with pytest.raises(DataError, match=rf"rows \(\d\d\.\d%\) are not found in {name}; at most 10"):
        MovieLens(tmp_path, version=version).prepare_data()
    path.write_bytes(b"".join(lines[:1] + lines[2:]))
    missed = MovieLens(tmp_path, version=version, tasks=["rating"]).data.manifest["missed"][name]
    assert 0 < missed["rows"] < missed["of"] * 0.1


@pytest.mark.parametrize("version", VERSIONS)
def test_lines_may_end_with_carriage_returns(tmp_path: Path, version: Any) -> None:
    folder = write_movielens(tmp_path, version)
    before = rows_of(MovieLens(tmp_path, version=version))
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert rows_of(MovieLens(tmp_path, version=version)).equals(before)


@pytest.mark.parametrize("writable", [True, False])
def test_an_archive_at_root_is_unpacked_whatever_its_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writable: bool
) -> None:
    folder = write_movielens(tmp_path / "published")
    root = tmp_path / "root"
    root.mkdir()
    shutil.make_archive(str(root / "ml-1m"), "zip", folder.parent, "ml-1m")
    if not writable:
        monkeypatch.setattr("mtlzoo.datamodules.download.publisher.writable", lambda folder: folder != root)
    monkeypatch.setattr(obtain, "download", lambda *_, **__: pytest.fail("downloads what is there"))
    data = MovieLens(root, prepared=tmp_path / "prepared")
    assert len(rows_of(data)) > 1000
    assert data.folder == MovieLens(folder, prepared=tmp_path / "prepared").folder
    assert (root / "ml-1m").is_dir() == writable


@pytest.mark.parametrize(
    ("version", "md5"),
    [("1m", "c4d9eecfca2ab87c1945afe126590906"), ("20m", "cd245b17a1ae2cc31bb14903e1204af3"), ("latest-small", "")],
)
def test_downloads_with_the_publishers_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: Any, md5: str
) -> None:
    published = write_movielens(tmp_path / "published", version)
    calls = []

    def fetch(url: str, path: Path, *, md5: str) -> Path:
        calls.append((url, md5))
        with zipfile.ZipFile(path, "w") as archive:
            for file in published.iterdir():
                archive.write(file, f"ml-{version}/{file.name}")
        return path

    monkeypatch.setattr(obtain, "download", fetch)
    root = tmp_path / "data"
    with pytest.raises(DatasetNotFoundError, match=r"no .*ratings.*root=|no .*ratings.*"):
        MovieLens(root, version=version, download=False).files()
    assert len(rows_of(MovieLens(root, version=version))) > 1000
    assert calls == [(f"https://files.grouplens.org/datasets/movielens/ml-{version}.zip", md5)]


@pytest.mark.parametrize(
    ("version", "name", "old", "new", "message"),
    [
        ("1m", "ratings.dat", "::5::", ":5::", r"ratings\.dat, line \d+: 3 fields where 4 are expected"),
        (
            "1m",
            "ratings.dat",
            "::5::",
            "::five::",
            r"ratings\.dat, line \d+, column 'rating': .*'five'",
        ),
        (
            "1m",
            "ratings.dat",
            "::5::",
            "::9::",
            r"ratings\.dat, line \d+, column 'rating': found 9.0; allowed is 1 to 5 in whole stars",
        ),
        (
            "1m",
            "movies.dat",
            "Drama",
            "Dramma",
            r"movies\.dat, line \d+, column 'genres': found '.*Dramma.*'; allowed is genres between",
        ),
        ("100k", "u.item", "|unknown|", "|", r"u\.item, line 27: 23 fields where 24 are expected"),
        ("32m", "ratings.csv", "rating", "stars", r"no column \['rating'\]"),
    ],
)
def test_files_that_are_not_what_they_should_be(
    tmp_path: Path, version: Any, name: str, old: str, new: str, message: str
) -> None:
    path = write_movielens(tmp_path, version) / name
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode(), 1))
    with pytest.raises(DataError, match=message):
        rows_of(MovieLens(tmp_path, version=version))


@pytest.mark.parametrize(("version", "name"), [("100k", "u.user"), ("1m", "movies.dat"), ("25m", "movies.csv")])
def test_a_missing_table_is_named(tmp_path: Path, version: Any, name: str) -> None:
    (write_movielens(tmp_path, version) / name).unlink()
    with pytest.raises(DatasetNotFoundError, match=rf"{name}\(\.gz\) is not in .*beside"):
        MovieLens(tmp_path, version=version).files()
