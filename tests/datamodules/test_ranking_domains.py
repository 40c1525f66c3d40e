"""MovieLens, LastFM, Ciao, Epinions, Amazon, Yelp: what each column may hold, what is missing, what is refused."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fuzz.published import sources
from scipy.io import loadmat, savemat

from mtlzoo.datamodules import DataError, DatasetNotFoundError, MultiTaskDataModule, RankingDataModule

SOURCES = sources()
SPELT = ["0x1", "1_000", "+1", " 1", "1 ", "1e0", "\uff11", "nan", "inf", "1.0", "true"]
"""What some parsers take for a whole number."""
NO_ID = ["0", "-1", "1.5", "2147483648", "", "user", *SPELT]
NO_TIME = ["", "0", "-1", "788918399", "2147483648", "874000000000", "1998-04-22", "874000000.5", *SPELT]
NO_STARS = ["", "0", "6", "-1", "five", "1e400", "nan", "inf", "0x5", "+5", " 5", "\uff15", "4.25"]
NO_NAME: list[Any] = [None, "", " ", "a b", "a,b", 'a"b', "caf\u00e9", "a\u0000", 7, 1.5, True, ["a"], {}]
NO_STAR = [None, 0, 6, 4.5, -1, "5", "five", True, [5], float("nan"), float("inf")]
NO_SECONDS = [0, -1, 788918399, 1_300_000_000_000, 1.5, "1300000000", True]

Case = tuple[str, str, Any, str, list[tuple[Any, Any]], list[Any]]
TABLE: list[Case] = [
    # A fixture, its file, the column, its name in the rows; values with what they are read as; what is refused.
    ("MovieLens 100k", "u.data", 0, "user", [("1", 1), ("2147483647", 2**31 - 1)], NO_ID),
    ("MovieLens 100k", "u.data", 1, "item", [("7", 7), ("1682", 1682)], NO_ID),
    ("MovieLens 100k", "u.data", 2, "rating", [("1", 1), ("5", 5)], [*NO_STARS, "4.5", "0.5"]),
    ("MovieLens 100k", "u.data", 3, "timestamp", [("788918400", 788918400), ("893286638", 893286638)], NO_TIME),
    ("MovieLens 100k", "u.item", 0, "", [("61", None)], NO_ID),
    (
        "MovieLens 100k",
        "u.item",
        1,
        "",
        [("unknown", None), ("Film (0000)", None), ("Film (\uff11\u0663)", None)],
        [""],
    ),
    ("MovieLens 100k", "u.item", 2, "", [("4-Feb-1971", None), ("", None)], []),
    ("MovieLens 100k", "u.item", 5, "", [("0", None)], ["1", "2", "", "-1", "yes", *SPELT]),
    *(("MovieLens 100k", "u.item", at, "", [("1", None)], ["2", "", "-1", "x"]) for at in (6, 15, 23)),
    ("MovieLens 100k", "u.user", 0, "", [("41", None)], NO_ID),
    (
        "MovieLens 100k",
        "u.user",
        1,
        "",
        [("1", None), ("7", None), ("120", None)],
        ["0", "121", "-7", "7.5", "", *SPELT[:4]],
    ),
    ("MovieLens 100k", "u.user", 2, "", [("M", None), ("F", None)], ["", "m", "X", "1", "Male", " M"]),
    ("MovieLens 100k", "u.user", 3, "", [("none", None), ("other", None)], ["", "Writer", "pilot", "1"]),
    ("MovieLens 100k", "u.user", 4, "", [("T8H1N", None), ("00000", None)], ["", "1234", "8571", "t8h1n", "85711-12"]),
    ("MovieLens", "ratings.dat", 0, "user", [("6040", 6040)], NO_ID),
    ("MovieLens", "ratings.dat", 1, "item", [("3952", 3952)], NO_ID),
    ("MovieLens", "ratings.dat", 2, "rating", [("1", 1), ("5", 5)], [*NO_STARS, "4.5"]),
    ("MovieLens", "ratings.dat", 3, "timestamp", [("978300760", 978300760)], NO_TIME),
    ("MovieLens", "movies.dat", 0, "", [("3952", None)], NO_ID),
    ("MovieLens", "movies.dat", 1, "", [("A: B (1995)", None)], [""]),
    ("MovieLens", "movies.dat", 2, "", [("Drama|War", None)], ["", "drama", "Drama|", "IMAX", "unknown", "Drama,War"]),
    ("MovieLens", "users.dat", 0, "", [("6040", None)], NO_ID),
    ("MovieLens", "users.dat", 1, "", [("M", None), ("F", None)], ["", "X", "m", "0"]),
    ("MovieLens", "users.dat", 2, "", [("1", None), ("56", None)], ["", "0", "19", "24", "M", "1.5"]),
    ("MovieLens", "users.dat", 3, "", [("0", None), ("20", None)], ["", "-1", "21", "writer", "1.5"]),
    ("MovieLens", "users.dat", 4, "", [("98107-2117", None), ("5849574", None)], ["", "123", "98107-21", "9810721171"]),
    ("MovieLens latest-small", "ratings.csv", 0, "user", [("610", 610)], NO_ID),
    ("MovieLens latest-small", "ratings.csv", 1, "item", [("193609", 193609)], NO_ID),
    (
        "MovieLens latest-small",
        "ratings.csv",
        2,
        "rating",
        [("0.5", 0.5), ("4.5", 4.5), ("5", 5)],
        [*NO_STARS, "0.7", "5.5"],
    ),
    ("MovieLens latest-small", "ratings.csv", 3, "timestamp", [("1537799250", 1537799250)], NO_TIME),
    ("MovieLens latest-small", "movies.csv", 0, "", [("193609", None)], NO_ID),
    ("MovieLens latest-small", "movies.csv", 1, "", [('"Film, The (1995)"', None)], ["", '"Film']),
    (
        *("MovieLens latest-small", "movies.csv", 2, ""),
        [("(no genres listed)", None), ("IMAX|Children", None)],
        ["", "Children's", "(no genres listed)|War", "none"],
    ),
    ("LastFM", "user_artists.dat", 0, "user", [("2100", 2100)], NO_ID),
    ("LastFM", "user_artists.dat", 1, "item", [("18745", 18745)], NO_ID),
    (
        "LastFM",
        "user_artists.dat",
        2,
        "plays",
        [("0", 0), ("1", np.log(2))],
        ["-1", "", "1.5", "often", "2147483648", *SPELT],
    ),
    ("LastFM", "user_friends.dat", 0, "", [("2100", None)], NO_ID),
    ("LastFM", "user_friends.dat", 1, "", [("2100", None)], NO_ID),
    ("LastFM", "user_taggedartists.dat", 1, "", [("18744", None)], NO_ID),
    ("LastFM", "user_taggedartists.dat", 2, "", [("12647", None)], NO_ID),
    ("LastFM", "user_taggedartists.dat", 5, "", [("1956", None), ("", None), ("x", None)], []),
    *(
        ("AmazonReviews given", f"{part}.txt", at, name, [("0", 0), ("4904", 4904)], NO_ID[1:])
        for part, at, name in (("train", 0, "user"), ("train", 1, "item"))
    ),
    ("AmazonReviews given", "train.txt", 2, "rating", [("1", 1), ("5", 5)], [*NO_STARS, "4.5"]),
    ("AmazonReviews 2014 csv", "ratings_Office_Products.csv.gz", 0, "user", [("#oc-R1", "#oc-R1")], ["", " ", "a b"]),
    ("AmazonReviews 2014 csv", "ratings_Office_Products.csv.gz", 1, "item", [("0000", "0000")], ["", " ", "\u00e9"]),
    (
        "AmazonReviews 2014 csv",
        "ratings_Office_Products.csv.gz",
        2,
        "rating",
        [("5.0", 5), ("1", 1)],
        [*NO_STARS, "4.5"],
    ),
    (
        *("AmazonReviews 2014 csv", "ratings_Office_Products.csv.gz", 3, "timestamp"),
        [("1300000000", 1300000000), ("", None)],
        NO_TIME[1:],
    ),
    (
        *("AmazonReviews 2023 csv", "Office_Products.csv.gz", 3, "timestamp"),
        [("1300000000999", 1300000000), ("", None)],
        ["1300000000", "0", "-1", "1300000000000000", "x"],
    ),
    ("AmazonReviews", "Office_Products_5.json.gz", "reviewerID", "user", [("#oc-R1", "#oc-R1")], NO_NAME),
    ("AmazonReviews", "Office_Products_5.json.gz", "asin", "item", [("B1", "B1")], NO_NAME),
    ("AmazonReviews", "Office_Products_5.json.gz", "overall", "rating", [(1, 1), (5.0, 5)], NO_STAR),
    (
        "AmazonReviews",
        "Office_Products_5.json.gz",
        "unixReviewTime",
        "timestamp",
        [(788918400, 788918400), (None, None)],
        NO_SECONDS,
    ),
    (
        "AmazonReviews",
        "Office_Products_5.json.gz",
        "verified",
        "verified",
        [(True, 1), (False, 0), (None, None)],
        [1, 0, "True", "yes", []],
    ),
    (
        *("AmazonReviews", "Office_Products_5.json.gz", "vote", "helpful"),
        [("2", 1), ("1,234", 1), ("0", 0), ("", 0), (None, 0)],
        ["many", "-1", "+1", "1.5", "1,23", "12,34", "0x1", "1_000", "\uff11", 1, True, ["2"]],
    ),
    ("AmazonReviews", "meta_Office_Products.json.gz", "asin", "", [("B1", None)], NO_NAME),
    (
        "AmazonReviews",
        "meta_Office_Products.json.gz",
        "also_buy",
        "",
        [([], None), (None, None), (["B1"], None)],
        ["B1", 3, [3], {}],
    ),
    ("AmazonReviews", "meta_Office_Products.json.gz", "also_view", "", [([], None), (None, None)], ["B1", 3, [["B1"]]]),
    (
        "AmazonReviews",
        "meta_Office_Products.json.gz",
        "category",
        "",
        [([], None), (None, None), (["", "Pens"], None)],
        ["Pens", [3]],
    ),
    (
        *("AmazonReviews 2014", "reviews_Office_Products_5.json.gz", "helpful", "helpful"),
        [([0, 0], 0), ([3, 4], 1), ([0, 9], 0)],
        [None, [], [1], [1, 2, 3], [-1, 2], [1, -2], [None, 3], [1.5, 2], ["1", "2"], 3, "3 of 4"],
    ),
    ("AmazonReviews 2023", "Office_Products.jsonl.gz", "user_id", "user", [("AE1", "AE1")], NO_NAME),
    ("AmazonReviews 2023", "Office_Products.jsonl.gz", "parent_asin", "item", [("B1", "B1")], NO_NAME),
    ("AmazonReviews 2023", "Office_Products.jsonl.gz", "rating", "rating", [(4.0, 4)], NO_STAR),
    (
        "AmazonReviews 2023",
        "Office_Products.jsonl.gz",
        "timestamp",
        "timestamp",
        [(1300000000123, 1300000000)],
        [1300000000, 0],
    ),
    (
        "AmazonReviews 2023",
        "Office_Products.jsonl.gz",
        "helpful_vote",
        "helpful",
        [(0, 0), (3, 1)],
        [None, -1, 1.5, "3", True],
    ),
    (
        "AmazonReviews 2023",
        "Office_Products.jsonl.gz",
        "verified_purchase",
        "verified",
        [(True, 1), (None, None)],
        [1, "yes"],
    ),
    ("AmazonReviews 2023", "meta_Office_Products.jsonl.gz", "parent_asin", "", [("B1", None)], NO_NAME),
    ("Yelp", "yelp_academic_dataset_review.json", "user_id", "user", [("_a-B9", "_a-B9")], NO_NAME),
    ("Yelp", "yelp_academic_dataset_review.json", "business_id", "item", [("-", "-")], NO_NAME),
    ("Yelp", "yelp_academic_dataset_review.json", "stars", "rating", [(1.0, 1), (5, 5)], NO_STAR),
    (
        "Yelp",
        "yelp_academic_dataset_review.json",
        "useful",
        "useful",
        [(0, 0), (3, 1), (-1, 0), (None, None)],
        [1.5, "3", True, []],
    ),
    ("Yelp", "yelp_academic_dataset_review.json", "date", "", [("never", None), (None, None)], []),
    ("Yelp", "yelp_academic_dataset_user.json", "user_id", "", [("a", None)], NO_NAME),
    (
        "Yelp",
        "yelp_academic_dataset_user.json",
        "friends",
        "",
        [("None", None), ("u_1, u_2", None), (None, None)],
        [3, ["u_1"], {}],
    ),
    (
        "Yelp lists",
        "yelp_academic_dataset_user.json",
        "friends",
        "",
        [([], None), (["None"], None), (None, None)],
        ["u_1", [3]],
    ),
    ("Yelp", "yelp_academic_dataset_business.json", "business_id", "", [("a", None)], NO_NAME),
    ("Yelp", "yelp_academic_dataset_business.json", "categories", "", [("Bars", None), (None, None)], [3, ["Bars"]]),
]


def read(module: MultiTaskDataModule) -> pl.DataFrame:
    """Rows; links are read too."""
    rows = pl.concat(module.read())
    if isinstance(module, RankingDataModule):
        for links in module.recipe.links:
            list(module.read_links(links.name))
    return rows


@pytest.mark.parametrize("case", TABLE, ids=lambda case: f"{case[0]}-{case[1]}-{case[2]}")
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


FILES = sorted({(source, file) for source, file, *_ in TABLE} | {("Ciao", "rating.mat"), ("Epinions", "trust.mat")})


@pytest.mark.parametrize("other", ["folder", "broken link", "nothing"])
@pytest.mark.parametrize(("source", "file"), FILES)
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
