import shutil
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from fixtures.movielens import FILMS, UNKNOWN, write_movielens
from mtlzoo.datamodules import DataError, DatasetNotFoundError, MovieLens
from mtlzoo.datamodules.download import publisher as obtain
from mtlzoo.datamodules.movielens_files import GENRES, OLD_GENRES

VERSIONS = ("100k", "1m", "20m", "25m", "32m", "latest-small")
SPLITS = ("train", "val", "test")


def rows_of(data: MovieLens) -> pl.DataFrame:
    return pl.concat(data.read())


def film(rows: pl.DataFrame, number: int) -> dict[str, Any]:
    return rows.filter(pl.col("item") == number).row(0, named=True)


def pairs(rows: pl.DataFrame) -> set[tuple[int, int]]:
    return set(rows.select("user", "item").rows())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("plain", [False, True])
def test_every_version_is_read_wherever_its_folder_is(tmp_path: Path, version: Any, plain: bool) -> None:
    write_movielens(tmp_path, version, plain=plain)
    data = MovieLens(tmp_path, version=version, download=False)
    assert [task.name for task in data.schema.tasks] == ["rating", "genres", "interaction"]
    rows = rows_of(data)
    rated = rows.filter(pl.col("interaction") == 1)
    assert len(rated) * 2 == len(rows) == sum(data.data.manifest["rows"].values())
    assert len(pairs(rated)) == len(rated) > 500
    assert (rated["rating"] % 1 == 0).all() == (version in ("100k", "1m"))


@pytest.mark.parametrize("version", ["100k", "1m", "latest-small"])
def test_titles_of_every_kind_are_read(tmp_path: Path, version: Any) -> None:
    write_movielens(tmp_path, version)
    rows = rows_of(MovieLens(tmp_path, version=version))
    years = {number: film(rows, number)["year"] for number in (3, 4, 5, 6, 9, UNKNOWN)}
    assert years == {3: 1995, 4: 1996, 5: 1998, 6: None, 9: 1968, UNKNOWN: None}
    assert film(rows, 7)["year"] == (1975 if version == "latest-small" else 1937)


def test_films_whose_genre_nobody_knows_do_not_observe_it(tmp_path: Path) -> None:
    cases: dict[Any, Any] = {"100k": OLD_GENRES, "latest-small": GENRES}
    for version, genres in cases.items():
        write_movielens(tmp_path, version)
        data = MovieLens(tmp_path, version=version)
        assert data.schema.tasks[1].classes == len(genres)
        assert film(rows_of(data), UNKNOWN)["genres"] is None
        ids = pl.concat([data.data[split].ids().select("item") for split in SPLITS])["item"].to_numpy()
        labels = torch.cat([data.data[split]["labels"] for split in SPLITS])[:, 1:-1]
        assert (labels.isnan().all(1) == torch.from_numpy(ids == UNKNOWN)).all()


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


def test_times_and_ratings_are_no_features_and_genres_only_where_they_are_no_task(tmp_path: Path) -> None:
    write_movielens(tmp_path)
    everything = {feature.name for feature in MovieLens(tmp_path).schema.features}
    assert everything == {"user", "item", "gender", "age", "occupation", "zip", "year"}
    assert {f.name for f in MovieLens(tmp_path, tasks=["rating"]).schema.features} == everything | {"genres"}


@pytest.mark.parametrize("negatives", [1, 3])
def test_negatives_are_rated_nowhere_in_the_file(tmp_path: Path, negatives: int) -> None:
    write_movielens(tmp_path)
    rows = rows_of(MovieLens(tmp_path, negatives=negatives))
    rated, drawn = (rows.filter(pl.col("interaction") == label) for label in (1, 0))
    assert len(drawn) == negatives * len(rated)
    assert not pairs(rated) & pairs(drawn)
    assert drawn["rating"].null_count() == drawn["timestamp"].null_count() == len(drawn)
    assert not rated["rating"].null_count()
    assert set(drawn["item"]) <= set(rated["item"])  # films that nobody rated are in no row
    labels = MovieLens(tmp_path, negatives=negatives).data["train"]["labels"]
    assert ((labels[:, -1] == 0) == labels[:, 0].isnan()).all()
    assert not labels[:, 1:-1].isnan().all()


@pytest.mark.parametrize("split", ["random", "user", "user_random"])
def test_negatives_are_where_their_rating_is(tmp_path: Path, split: str) -> None:
    write_movielens(tmp_path)
    rows = rows_of(MovieLens(tmp_path, split=split, negatives=2))
    each = rows.select(pl.col("user", "split", "interaction").reshape((-1, 3)))
    assert (each["user"].arr.n_unique() == 1).all()
    assert (each["split"].arr.n_unique() == 1).all()
    assert each["interaction"].arr.to_list().to_list() == [[1, 0, 0]] * len(each)


def test_a_negative_of_train_is_not_met_again_in_test(tmp_path: Path) -> None:
    write_movielens(tmp_path)
    drawn = rows_of(MovieLens(tmp_path)).filter(pl.col("interaction") == 0)
    per_user = drawn.group_by("user").agg(pl.len(), pl.col("item").n_unique())
    rated = drawn.group_by("user").len().sort("user")["len"]
    enough = per_user.sort("user").filter(rated * 2 <= FILMS - 5)
    assert len(enough) > 10
    assert (enough["len"] == enough["item"]).all()


def test_good_ratings_are_what_a_ranking_is_of(tmp_path: Path) -> None:
    write_movielens(tmp_path)
    data = MovieLens(tmp_path, tasks=["recommend", "rating", "genres", "alignment"], positive_from=3, batch_size=32)
    frame = pl.concat(data.read())
    assert frame["recommend"].is_not_null().to_list() == (frame["rating"] > 3).to_list()
    batch = next(iter(data.train_dataloader()))
    assert batch["negative"].shape == (32, 1)
    assert "relevant" in next(iter(data.val_dataloader()))
    rating = data.schema.tasks[1]
    assert (rating.center, rating.scale) == (0.0, 1.0)
    assert MovieLens(tmp_path, tasks=["rating"]).schema.tasks[0].scale != 1.0


def test_the_seed_decides_split_and_negatives(tmp_path: Path) -> None:
    write_movielens(tmp_path)
    first, again, other = (rows_of(MovieLens(tmp_path, seed=seed)) for seed in (0, 0, 1))
    assert first.equals(again)
    assert not first["split"].equals(other["split"])
    assert not first["item"].equals(other["item"])
    assert MovieLens(tmp_path, seed=0).folder != MovieLens(tmp_path, seed=1).folder


def test_random_split_has_the_asked_shares(tmp_path: Path) -> None:
    write_movielens(tmp_path, users=200)
    counts = MovieLens(tmp_path, tasks=["rating"], val=0.2, test=0.3).data.manifest["rows"]
    total = sum(counts.values())
    assert abs(counts["val"] / total - 0.2) < 0.03
    assert abs(counts["test"] / total - 0.3) < 0.03


def test_user_split_is_in_order_of_time(tmp_path: Path) -> None:
    write_movielens(tmp_path, "100k")
    rows = rows_of(MovieLens(tmp_path, version="100k", tasks=["rating"], split="user", val=0.2, test=0.2))
    for part in rows.partition_by("user"):
        times = [part.filter(pl.col("split") == split)["timestamp"].to_list() for split in SPLITS]
        ends = [(min(of), max(of), len(of)) for of in times]
        assert ends[0][1] <= ends[1][0] <= ends[1][1] <= ends[2][0]
        assert ends[0][2] == int(len(part) * 0.6 + 1e-9)
        assert ends[0][2] + ends[1][2] == int(len(part) * 0.8 + 1e-9)


def test_user_random_split_has_the_sizes_of_pmtrec_and_no_order(tmp_path: Path) -> None:
    write_movielens(tmp_path)
    rows = rows_of(MovieLens(tmp_path, tasks=["rating"], split="user_random", val=0.2, test=0.2))
    late = 0
    for part in rows.partition_by("user"):
        sizes = [len(part.filter(pl.col("split") == split)) for split in SPLITS]
        assert sizes[0] == int(len(part) * 0.6 + 1e-9)
        assert sizes[0] + sizes[1] == int(len(part) * 0.8 + 1e-9)
        train, test = (part.filter(pl.col("split") == name)["timestamp"].to_list() for name in ("train", "test"))
        late += max(train) > min(test)
    assert late > 30


def test_given_splits_are_those_of_the_files(tmp_path: Path) -> None:
    folder = write_movielens(tmp_path, "100k")
    for split in ("u1", "ub"):
        rows = rows_of(MovieLens(tmp_path, version="100k", split=split, val=0.25)).filter(pl.col("interaction") == 1)
        for part, names in (("base", ["train", "val"]), ("test", ["test"])):
            lines = [line.split("\t") for line in (folder / f"{split}.{part}").read_text().splitlines()]
            expected = {(int(user), int(item)) for user, item, *_ in lines}
            assert pairs(rows.filter(pl.col("split").is_in(names))) == expected
        share = len(rows.filter(pl.col("split") == "val")) / len(rows.filter(pl.col("split") != "test"))
        assert abs(share - 0.25) < 0.06


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"version": "10m"}, r"version='10m'; allowed are \['100k', '1m'"),
        ({"tasks": ["stars"]}, r"tasks=\['stars'\]; allowed"),
        ({"tasks": []}, r"tasks=\[\]; allowed"),
        ({"split": "u1"}, r"split='u1'; allowed with version 1m are \['random', 'user', 'user_random'\]"),
        ({"negatives": 0}, "negatives=0, "),
        ({"val": 0.5, "test": 0.5}, r"val=0.5, test=0.5; allowed"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MovieLens(tmp_path, **arguments)


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    write_movielens(tmp_path)
    data = MovieLens(tmp_path, prepared=tmp_path / "prepared")
    data.prepare_data()
    next(data.read())
    assert not list((tmp_path / "prepared").glob("*.partial"))


# ---- the real files


def test_the_official_100k(data_root: Path) -> None:
    root = data_root / "ml-100k"
    if not (root / "u.data").is_file():
        pytest.skip(f"no MovieLens-100K at {root}")
    data = MovieLens(root, version="100k", download=False)
    rows = rows_of(data)
    rated = rows.filter(pl.col("interaction") == 1)
    assert (len(rated), rated["user"].n_unique(), rated["item"].n_unique()) == (100_000, 943, 1_682)
    assert rows["zip"].str.len_chars().max() == 3
    assert set(rows.filter(pl.col("genres").is_null())["item"]) == {267, 1373}
    assert film(rows, 267)["year"] is None
    assert [OLD_GENRES[i] for i in film(rows, 1)["genres"]] == ["Animation", "Children's", "Comedy"]
    assert round(rated["rating"].mean(), 5) == 3.52986  # type: ignore[arg-type]
    counts = MovieLens(root, version="100k", split="u1", tasks=["rating"]).data.manifest["rows"]
    assert (counts["train"] + counts["val"], counts["test"]) == (80_000, 20_000)


@pytest.mark.slow
def test_the_official_1m(data_root: Path, tmp_path: Path) -> None:
    archive = data_root / "ml-1m" / "ml-1m.zip"
    if not archive.is_file():
        pytest.skip(f"no MovieLens-1M at {archive}")
    shutil.copy(archive, tmp_path)  # not to unpack among data that others use
    rows = rows_of(MovieLens(tmp_path, download=False))
    rated = rows.filter(pl.col("interaction") == 1)
    assert (len(rated), rated["user"].n_unique(), rated["item"].n_unique()) == (1_000_209, 6_040, 3_706)
    assert not rated.select("user", "item").is_duplicated().any()
    drawn = rows.filter(pl.col("interaction") == 0)
    assert drawn.join(rated, on=["user", "item"], how="semi").is_empty()
    assert not rows["year"].null_count() + rows["genres"].null_count() + rows["zip"].null_count()
