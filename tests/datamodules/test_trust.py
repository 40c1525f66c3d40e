"""Ciao and Epinions: every quirk of their files, and the official Ciao where it is at hand."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.io import loadmat, savemat
from scipy.sparse import csc_matrix

from fixtures.ciao import PLAIN, write_trust
from fixtures.epinions import TIMED
from mtlzoo.datamodules import Ciao, DataError, DatasetNotFoundError, Epinions

ALL = ["recommend", "rating", "alignment", "trust", "category"]


CIAO_TIMED = {"rating_with_timestamp.mat": "rating", "trust.mat": "trust"}
MIXED = {"rating_with_timestamp.mat": "rating_with_timestamp", "trustnetwork.mat": "trust"}


@pytest.mark.parametrize(
    ("columns", "names"),
    [(4, PLAIN), (5, PLAIN), (6, PLAIN), (6, TIMED), (6, CIAO_TIMED), (6, MIXED)],
    ids=["four", "plain", "six", "timed", "ciao-timed", "mixed"],
)
def test_every_release_is_read(tmp_path: Path, columns: int, names: dict[str, str]) -> None:
    write_trust(tmp_path, columns=columns, names=names)
    data = Epinions(tmp_path, tasks=ALL)
    rows, trust = pl.concat(data.read()), pl.concat(data.read_links("trust"))
    matrix, pairs = (loadmat(tmp_path / file)[variable] for file, variable in names.items())
    assert matrix.shape[1] == columns
    assert rows.select("user", "item", "category").rows() == [tuple(row) for row in matrix[:, :3].tolist()]
    assert trust.select("source", "target").rows() == [tuple(pair) for pair in pairs.tolist()]


def test_no_stars_are_no_rating_and_pairs_stay_as_often_as_they_are(tmp_path: Path) -> None:
    write_trust(tmp_path)
    matrix = loadmat(tmp_path / "rating.mat")["rating"]
    rows = pl.concat(Ciao(tmp_path, tasks=ALL).read())
    assert len(rows) == len(matrix) > len(np.unique(matrix[:, :2], axis=0))
    assert (matrix[:, 3] == 0).any()
    assert rows["rating"].is_null().to_list() == (matrix[:, 3] == 0).tolist()
    assert rows["recommend"].is_not_null().to_list() == (matrix[:, 3] > 3).tolist()


def test_positive_from_moves_the_bound(tmp_path: Path) -> None:
    write_trust(tmp_path)
    rows = pl.concat(Ciao(tmp_path, positive_from=4).read())
    assert rows["recommend"].is_not_null().to_list() == (rows["rating"] > 4).fill_null(False).to_list()


def test_links_are_trust_and_categories(tmp_path: Path) -> None:
    write_trust(tmp_path)
    data = Ciao(tmp_path, tasks=ALL, batch_size=64)
    matrix, pairs = loadmat(tmp_path / "rating.mat")["rating"], loadmat(tmp_path / "trustnetwork.mat")["trustnetwork"]
    trust = {frozenset(pair) for pair in pairs.tolist()}
    category: dict[int, set[int]] = {}
    for product, its in matrix[:, 1:3].tolist():
        category.setdefault(product, set()).add(its)
    assert any(len(several) > 1 for several in category.values())
    user, item = (
        dict(pl.read_parquet(data.data.folder / "vocabulary" / f"{name}.parquet").select("id", "value").rows())
        for name in ("user", "item")
    )
    seen = 0
    for batch in data.train_dataloader():
        for anchor, partner, other in batch["trust"].tolist():
            if anchor:
                seen += 1
                assert frozenset((user[anchor], user[partner])) in trust
                assert frozenset((user[anchor], user[other])) not in trust
        for anchor, partner, other in batch["category"].tolist():
            if anchor:
                assert category[item[anchor]] & category[item[partner]]
                assert not category[item[anchor]] & category[item[other]]
    assert seen > 100


@pytest.mark.parametrize("split", ["random", "user"])
def test_splits_have_the_papers_shares(tmp_path: Path, split: Any) -> None:
    write_trust(tmp_path)
    rows = Ciao(tmp_path, split=split).data.manifest["rows"]
    total = sum(rows.values())
    for name, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        assert abs(rows[name] / total - share) < 0.04


def test_the_network_is_needed_for_trust_only(tmp_path: Path) -> None:
    write_trust(tmp_path)
    (tmp_path / "trustnetwork.mat").unlink()
    assert Ciao(tmp_path, tasks=["recommend", "category"]).schema
    with pytest.raises(DatasetNotFoundError, match=r"Ciao: no trustnetwork.mat or trust.mat in .*tangjili"):
        Ciao(tmp_path).prepare_data()


WRONG: dict[str, tuple[Any, str]] = {
    "page": (b"<!DOCTYPE html><html>", "a web page, not data"),
    "text": (b"1,2,3,4\n" * 100, "not a whole MATLAB file"),
    "version 7.3": (b"MATLAB 7.3 MAT-file".ljust(124, b" ") + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" * 9, "version 7.3"),
    "variable": ({"ratings": np.ones((3, 5))}, "no variable 'rating' or 'rating_with_timestamp'"),
    "columns": ({"rating": np.ones((3, 2))}, r"shape \(3, 2\)"),
    "fraction": ({"rating": np.array([[1, 2, 3, 4.5]])}, r"rating\[0, 3\] is 4.5; allowed are whole numbers"),
    "missing": ({"rating": np.array([[1, 2, 3, 4], [1, np.nan, 3, 4]])}, r"rating\[1, 1\] is nan; allowed are whole"),
    "infinite": ({"rating": np.array([[np.inf, 2, 3, 4]])}, r"rating\[0, 0\] is inf; allowed are whole"),
    "too high": ({"rating": np.array([[2**64 - 1, 2, 3, 4]], np.uint64)}, "18446744073709551615; allowed are whole"),
    "sparse": ({"rating": csc_matrix(np.ones((9, 4)))}, "object of shape"),
    "words": ({"rating": "four"}, "of shape"),
    "transposed": ({"rating": np.ones((5, 90))}, r"shape \(5, 90\); allowed are numbers in 4 or 5 or 6 columns"),
    "stars": (
        {"rating": np.array([[1, 2, 3, 6], [1, 2, 3, 4]])},
        "row 1: found 6; allowed is a whole number from 0 to 5",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_files_that_are_not_what_they_should_be(tmp_path: Path, case: str) -> None:
    content, message = WRONG[case]
    write_trust(tmp_path)
    if isinstance(content, bytes):
        (tmp_path / "rating.mat").write_bytes(content)
    else:
        savemat(tmp_path / "rating.mat", content)
    with pytest.raises(DataError, match=message):
        Ciao(tmp_path).prepare_data()


def test_a_file_that_was_cut_off(tmp_path: Path) -> None:
    write_trust(tmp_path)
    whole = (tmp_path / "rating.mat").read_bytes()
    (tmp_path / "rating.mat").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a whole MATLAB file"):
        Ciao(tmp_path).prepare_data()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": ["recommend", "friends"]}, r"tasks=\['recommend', 'friends'\]; allowed"),
        ({"tasks": ["trust"]}, "must be among them"),
        ({"split": "time"}, "split='time'; allowed are 'random' and 'user'"),
        ({"positive_from": 5}, "positive_from=5; allowed are 0 to below 5"),
        ({"positive_from": float("nan")}, "positive_from=nan; allowed"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Epinions(tmp_path, **arguments)


def test_the_official_ciao(data_root: Path, tmp_path: Path) -> None:
    if not (data_root / "ciao" / "rating.mat").is_file():
        pytest.skip("no ciao/rating.mat in MTLZOO_DATA")
    data = Ciao(data_root / "ciao", tasks=ALL, prepared=tmp_path)
    rows = pl.concat(data.read())
    assert sum(data.data.manifest["rows"].values()) == len(rows) == 284_086
    assert (rows["user"].n_unique(), rows["item"].n_unique(), rows["category"].n_unique()) == (7_375, 105_114, 28)
    assert rows["rating"].null_count() == 34
    assert len(rows) - rows.select("user", "item").n_unique() == 1_436
    assert rows.select("item", "category").n_unique() - rows["item"].n_unique() == 105  # 97 in two, 4 in three
    assert len(pl.concat(data.read_links("trust"))) == 111_781
    assert len(data.links("trust").lists) > 100_000
