"""MovieLens, LastFM, Ciao, Epinions, Amazon, Yelp: what each column may hold, what is missing, what is refused."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from domains import of_films, of_reviews
from domains.case import Case
from fuzz.published import sources
from scipy.io import loadmat, savemat

from mtlzoo.datamodules import DataError, DatasetNotFoundError, MultiTaskDataModule, RankingDataModule

SOURCES = sources()
CASES = of_films.CASES + of_reviews.CASES


def read(module: MultiTaskDataModule) -> pl.DataFrame:
    """Rows; links are read too."""
    rows = pl.concat(module.read())
    if isinstance(module, RankingDataModule):
        for links in module.recipe.links:
            list(module.read_links(links.name))
    return rows


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[2]}")
def test_a_value_is_read_and_all_else_is_refused(case: Case, tmp_path: Path) -> None:
    source, file, column, name, values, refused = case
    build = SOURCES[source].build
    assert build is not None
    module = build(tmp_path / "raw")
    (path,) = (tmp_path / "raw").rglob(file)
    whole = path.read_bytes()
    for value, expected in values:
        write(path, whole, column, value)
        rows = read(module)
        if name:
            found = rows[name][0]
            assert found == (expected if isinstance(expected, str | None) else pytest.approx(expected)), value
    for value in refused:
        write(path, whole, column, value)
        with pytest.raises(DataError, match=path.name.removesuffix(".gz")):
            read(module)


def write(path: Path, whole: bytes, column: Any, value: Any) -> None:
    """The file, with another value in its first row."""
    data = gzip.decompress(whole) if path.suffix == ".gz" else whole
    lines = data.split(b"\n")
    if isinstance(column, str):
        row = json.loads(lines[0]) | {column: value}
        lines[0] = json.dumps(row).encode()
    else:
        named = lines[0][:4] in (b"user", b"movi")
        separator = (
            b"," if path.name == "movies.csv" else next(s for s in (b"::", b"|", b"\t", b",") if s in lines[named])
        )
        fields = lines[named].removesuffix(b"\r").split(separator)
        fields[column] = value.encode("latin-1" if value.isascii() else "utf-8")
        lines[named] = separator.join(fields)
    data = b"\n".join(lines)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


MATRICES = [
    # A variable, its column; values, and what is refused.
    ("rating", 0, [1, 7375], [0, -1, 1.5, 2**31, np.nan, np.inf]),
    ("rating", 1, [1, 106_797], [0, -1, 1.5, 2**31, np.nan, np.inf]),
    ("rating", 2, [1, 28], [0, -1, 29, 1.5, np.nan]),
    ("rating", 3, [0, 1, 5], [-1, 6, 4.5, np.nan]),
    ("rating", 4, [0, 99], []),
    ("trustnetwork", 0, [1, 7375], [0, -1, 1.5, 2**31, np.nan]),
    ("trustnetwork", 1, [1, 7375], [0, -1, 1.5, 2**31, np.nan]),
]


@pytest.mark.parametrize(("variable", "column", "values", "refused"), MATRICES)
def test_numbers_of_ciao(variable: str, column: int, values: list[Any], refused: list[Any], tmp_path: Path) -> None:
    build = SOURCES["Ciao"].build
    assert build is not None
    module = build(tmp_path)
    path = tmp_path / f"{variable}.mat"
    matrix = loadmat(path)[variable].astype(np.float64)
    for value in [*values, *refused]:
        matrix[3, column] = value
        savemat(path, {variable: matrix})
        if value in values:
            read(module)
            continue
        with pytest.raises(DataError, match=rf"row 4: found|{variable}\[3, {column}\] is"):
            read(module)


@pytest.mark.parametrize(
    ("source", "file"),
    [
        ("MovieLens 100k", "u.data"),
        ("MovieLens", "ratings.dat"),
        ("MovieLens latest-small", "ratings.csv"),
        ("LastFM", "user_artists.dat"),
        ("AmazonReviews given", "test.txt"),
    ],
)
def test_a_pair_comes_once(source: str, file: str, tmp_path: Path) -> None:
    build = SOURCES[source].build
    assert build is not None
    module = build(tmp_path)
    (path,) = tmp_path.rglob(file)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:-1], lines[3], b""]))
    with pytest.raises(DataError, match="1 rows repeat a pair of user and item, first user"):
        read(module)


def test_a_file_given_twice_is_no_second_part(tmp_path: Path) -> None:
    build = SOURCES["AmazonReviews given"].build
    assert build is not None
    module = build(tmp_path)
    (tmp_path / "test.txt").write_bytes((tmp_path / "train.txt").read_bytes())
    with pytest.raises(DataError, match="rows repeat a pair"):
        read(module)


def test_nobody_is_his_own_friend(tmp_path: Path) -> None:
    build = SOURCES["LastFM"].build
    assert build is not None
    module = build(tmp_path)
    with (tmp_path / "user_friends.dat").open("ab") as file:
        file.write(b"7\t7\r\n")
    with pytest.raises(DataError, match="found 7; allowed is somebody else than the user"):
        read(module)


@pytest.mark.parametrize("differ", [False, True])
def test_two_rows_of_a_film_must_be_the_same(differ: bool, tmp_path: Path) -> None:
    build = SOURCES["MovieLens"].build
    assert build is not None
    module = build(tmp_path)
    (path,) = tmp_path.rglob("movies.dat")
    line = path.read_bytes().split(b"\n")[0]
    with path.open("ab") as file:
        file.write((b"1::Another (1999)::War" if differ else line) + b"\n")
    if not differ:
        read(module)
        return
    with pytest.raises(DataError, match=r"movies\.dat: item 1 has two rows that differ"):
        read(module)


FILES = sorted({(source, file) for source, file, *_ in CASES} | {("Ciao", "rating.mat"), ("Epinions", "trust.mat")})


@pytest.mark.parametrize("other", ["folder", "broken link", "nothing"])
@pytest.mark.parametrize(("source", "file"), FILES)
@pytest.mark.usefixtures("offline")
def test_what_is_no_file_is_named(source: str, file: str, other: str, tmp_path: Path) -> None:
    build = SOURCES[source].build
    assert build is not None
    module = build(tmp_path)
    (path,) = tmp_path.rglob(file)
    path.unlink()
    if other == "folder":
        path.mkdir()
    elif other == "broken link":
        path.symlink_to("nowhere")
    said = {"folder": "a folder, where a file is", "broken link": "a link to nowhere, which is not there"}
    with pytest.raises(DatasetNotFoundError, match=rf"{file}: {said[other]}" if other in said else "root=|put it at"):
        module.prepare_data()


@pytest.mark.parametrize(
    ("source", "one", "other"),
    [
        ("CensusIncome", "census-income.data", "census-income.test"),
        ("KuaiRand", "log_standard_4_22_to_5_08_pure.csv", "log_standard_4_08_to_4_21_pure.csv"),
        ("AliExpress", "nl_item_train.csv", "nl_item_test.csv"),
        ("AliCCP", "sample_skeleton_train.csv", "sample_skeleton_test.csv"),
        ("MovieLens u1", "u1.base", "u1.test"),
    ],
)
def test_a_file_in_the_place_of_another_is_refused(source: str, one: str, other: str, tmp_path: Path) -> None:
    build = SOURCES[source].build
    assert build is not None
    module = build(tmp_path)
    (path,), (place,) = tmp_path.rglob(one), tmp_path.rglob(other)
    place.write_bytes(path.read_bytes())
    with pytest.raises(DataError, match=rf"({one}|{other}) and .*({one}|{other}) hold the same: one lies in the place"):
        module.prepare_data()
