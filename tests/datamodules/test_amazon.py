from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fixtures.amazon import write_given
from mtlzoo.datamodules import AmazonReviews, DataError, DatasetNotFoundError


def rows_of(data: AmazonReviews) -> pl.DataFrame:
    return pl.concat(data.read())


# ---- the split of GraphAU


def test_the_given_split_is_taken_as_it_is(tmp_path: Path) -> None:
    write_given(tmp_path)
    rows = rows_of(AmazonReviews(tmp_path, split="given"))
    for (split,), part in rows.partition_by("split", as_dict=True).items():
        lines = (tmp_path / f"{split}.txt").read_text().split()
        assert [f"{user},{item},{rating:.0f}" for user, item, rating in part["user", "item", "rating"].rows()] == lines


def test_ratings_above_the_bound_are_positive(tmp_path: Path) -> None:
    write_given(tmp_path)
    rows = rows_of(AmazonReviews(tmp_path, split="given", positive_from=4))
    assert rows["recommend"].to_list() == [1 if rating > 4 else None for rating in rows["rating"]]
    other = AmazonReviews(tmp_path, split="given")
    assert other.folder != AmazonReviews(tmp_path, split="given", positive_from=4).folder
    assert rows_of(other)["recommend"].count() > rows["recommend"].count()


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    write_given(tmp_path)
    (tmp_path / "val.txt").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"only \['train.txt', 'test.txt'\] are in .*GraphAU.*root="):
        AmazonReviews(tmp_path, split="given").files()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("7,8", "2 fields where 3 are expected"),
        ("7,8,", "found None; allowed is 1 to 5 in whole stars"),
        ("u7,8,5", "invalid value 'u7'; expected int64"),
    ],
)
def test_a_bad_row_is_refused(tmp_path: Path, line: str, message: str) -> None:
    path = write_given(tmp_path) / "val.txt"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=message):
        rows_of(AmazonReviews(tmp_path, split="given"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": ["ratings"]}, r"tasks=\['ratings'\]; allowed"),
        ({"tasks": []}, r"tasks=\[\]; allowed"),
        ({"split": "none"}, "split='none', core=0; allowed"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AmazonReviews(tmp_path, **{"split": "given", **arguments})


# ---- real files


def test_office_is_the_data_of_pmtrec(data_root: Path, tmp_path: Path) -> None:
    """Table 1 of the paper: 4,905 users, 2,420 items, 51,441 interactions."""
    root = data_root / "amazon-office-2014"
    if not root.is_dir():
        pytest.skip(f"no {root}")
    data = AmazonReviews(root, split="given", prepared=tmp_path)
    assert data.data.manifest["rows"] == {"train": 30_372, "val": 10_466, "test": 10_603}
    rows = rows_of(data)
    assert (rows["user"].n_unique(), rows["item"].n_unique(), len(rows)) == (4_905, 2_420, 51_441)
    assert rows.filter(pl.col("split") == "test")["rating"].min() == 4
    assert len(data.interactions.users) == rows.filter(pl.col("split") == "train")["recommend"].sum() == 25_849
    assert not rows.select(pl.struct("user", "item").is_duplicated().any()).item()
