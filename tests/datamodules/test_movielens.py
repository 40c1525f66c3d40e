"""MovieLens' rows: tasks and features, negatives, splits; and the official files."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from fixtures.movielens import FILMS, UNKNOWN, write_movielens
from mtlzoo.datamodules import MovieLens
from mtlzoo.datamodules.movielens_files import GENRES, OLD_GENRES

SPLITS = ("train", "val", "test")


def rows_of(data: MovieLens) -> pl.DataFrame:
    return pl.concat(data.read())


def film(rows: pl.DataFrame, number: int) -> dict[str, Any]:
    return rows.filter(pl.col("item") == number).row(0, named=True)


def pairs(rows: pl.DataFrame) -> set[tuple[int, int]]:
    return set(rows.select("user", "item").rows())


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
