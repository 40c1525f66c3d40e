"""Ali-CCP's rows against a plain join of its files: fields, labels, groups and splits."""

import csv
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fixtures.aliccp import HISTORIES, USER_FIELDS, write_aliccp
from mtlzoo.datamodules import AliCCP
from mtlzoo.datamodules.aliccp import FIELDS, SEQUENCES
from mtlzoo.schema import UNKNOWN

PARTS = ("train", "test")


def rows_of(data: AliCCP) -> pl.DataFrame:
    return pl.concat(data.read())


def entries(string: str) -> dict[str, list[int]]:
    """Ids by field of a feature string, read the plain way."""
    ids = defaultdict(list)
    for entry in filter(None, string.split("\x01")):
        field, rest = entry.split("\x02")
        ids[field].append(int(rest.split("\x03")[0]))
    return ids


def plainly(root: Path, part: str) -> list[tuple[list[str], dict[str, list[int]]]]:
    """Fields of each row of a skeleton, and the ids of both files."""
    common = {row[0]: entries(row[2]) for row in _lines(root / f"common_features_{part}.csv")}
    skeleton = _lines(root / f"sample_skeleton_{part}.csv")
    return [(row, {**common[row[3]], **entries(row[5])}) for row in skeleton]


def _lines(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines()))


def test_rows_are_those_of_a_plain_join(tmp_path: Path) -> None:
    root = write_aliccp(tmp_path)
    rows = rows_of(AliCCP(root, sequences=dict.fromkeys(SEQUENCES, 99)))
    expected = [(row, ids) for part in PARTS for row, ids in plainly(root, part) if (row[1], row[2]) != ("0", "1")]
    assert rows["sample_id"].to_list() == [int(row[0]) for row, _ in expected]
    assert rows["click"].to_list() == [int(row[1]) for row, _ in expected]
    assert rows["conversion"].to_list() == [int(row[2]) for row, _ in expected]
    for name, field in FIELDS.items():
        theirs = [ids.get(field, []) for _, ids in expected]
        assert max(map(len, theirs)) > 0, name
        if name in SEQUENCES:
            assert max(map(len, theirs)) > 1, name
            assert rows[name].to_list() == theirs, name
        else:
            assert rows[name].to_list() == [ids[0] if ids else None for ids in theirs], name


def test_rows_that_convert_without_a_click_are_dropped(tmp_path: Path) -> None:
    root = write_aliccp(tmp_path)
    labels = Counter((row[1], row[2]) for part in PARTS for row, _ in plainly(root, part))
    rows = rows_of(AliCCP(root))
    assert labels["0", "1"] > 0
    assert len(rows) == labels.total() - labels["0", "1"]
    assert (rows["conversion"] <= rows["click"]).all()
    assert rows["conversion"].sum() == labels["1", "1"]


def test_conversions_without_a_click_are_counted(tmp_path: Path) -> None:
    root = write_aliccp(tmp_path)
    dropped = sum((row[1], row[2]) == ("0", "1") for part in PARTS for row, _ in plainly(root, part))
    assert AliCCP(root).data.manifest["dropped"] == {"conversion without click (among rows with either)": dropped}


def test_the_tasks_are_a_funnel_in_order(tmp_path: Path) -> None:
    data = AliCCP(write_aliccp(tmp_path))
    assert [task.name for task in data.schema.tasks] == ["click", "conversion"]
    labels = data.data["train"]["labels"]
    assert not labels.isnan().any()  # the conversion counts without a click, too
    assert bool((labels[:, 1] <= labels[:, 0]).all())


def test_histories_longer_than_what_is_kept(tmp_path: Path) -> None:
    root = write_aliccp(tmp_path)
    whole, cut = (rows_of(AliCCP(root, sequences={"shop_history": length}))["shop_history"] for length in (99, 3))
    assert whole.list.len().max() == 14
    assert cut.list.len().max() == 3
    for all_ids, kept in zip(whole, cut, strict=True):
        assert len(kept) == min(3, len(all_ids))
        assert set(kept) <= set(all_ids)


def test_fields_missing_in_a_row_are_unknown_or_empty(tmp_path: Path) -> None:
    data = AliCCP(write_aliccp(tmp_path), min_count=1)
    rows = rows_of(data).filter(pl.col("split") == "train")
    names = [feature.name for feature in data.schema.categorical]
    ids = data.data["train"]["categorical"]
    for name in ("user_id", "gender", "item_id", "position", "category_cross"):
        missing = rows[name].is_null()
        assert 0 < missing.sum() < len(rows) / 2, name
        assert (ids[:, names.index(name)] == UNKNOWN).tolist() == missing.to_list(), name
    empty = (data.data["train"]["intention"] == 0).all(1).tolist()
    assert empty == (rows["intention"].list.len() == 0).to_list()


def test_rows_without_user_are_grouped_by_their_common_features(tmp_path: Path) -> None:
    root = write_aliccp(tmp_path)
    rows = rows_of(AliCCP(root)).filter(pl.col("split") != "test")
    index = {int(row[0]): row[3] for row, _ in plainly(root, "train")}
    known, unknown = rows.filter(pl.col("user_id").is_not_null()), rows.filter(pl.col("user_id").is_null())
    assert known["group"].to_list() == known["user_id"].to_list()
    assert (unknown["group"] < 0).all()
    pairs = {(group, index[sample]) for group, sample in zip(unknown["group"], unknown["sample_id"], strict=True)}
    assert len(pairs) == len({group for group, _ in pairs}) == len({key for _, key in pairs}) > 1


def test_ids_are_global(tmp_path: Path) -> None:
    rows = rows_of(AliCCP(write_aliccp(tmp_path)))
    seen = [set(rows[name].explode().drop_nulls()) for name in FIELDS]
    assert sum(map(len, seen)) == len(set.union(*seen))


def test_validation_from_train_leaves_test_whole(tmp_path: Path) -> None:
    root = write_aliccp(tmp_path, rows=4000)
    rows = rows_of(AliCCP(root))
    counts = dict(rows["split"].value_counts().rows())
    assert counts["test"] == sum((row[1], row[2]) != ("0", "1") for row, _ in plainly(root, "test"))
    assert counts["val"] / (counts["val"] + counts["train"]) == pytest.approx(0.1, abs=0.02)


def test_validation_from_test_leaves_train_whole(tmp_path: Path) -> None:
    root = write_aliccp(tmp_path, rows=4000)
    counts = dict(rows_of(AliCCP(root, val_from="test"))["split"].value_counts().rows())
    assert counts["train"] == sum((row[1], row[2]) != ("0", "1") for row, _ in plainly(root, "train"))
    assert counts["val"] / (counts["val"] + counts["test"]) == pytest.approx(0.5, abs=0.05)


def test_the_draw_of_validation_depends_on_its_seed_alone(tmp_path: Path) -> None:
    root = write_aliccp(tmp_path)
    one, same, other = (AliCCP(root, split_seed=seed) for seed in (1, 1, 2))
    assert rows_of(one).equals(rows_of(same))
    assert not rows_of(one)["split"].equals(rows_of(other)["split"])
    assert one.folder == same.folder != other.folder
    assert one.folder != AliCCP(root, split_seed=1, val_from="test").folder


def test_the_eighteen_fields_of_aitm(tmp_path: Path) -> None:
    fields = [name for name in FIELDS if name not in ("intention", *(f"{x}_history" for x in ("category", "shop")))]
    fields = [name for name in fields if name not in ("brand_history", "intention_history")]
    schema = AliCCP(write_aliccp(tmp_path), fields=fields).schema
    assert len(schema.features) == 18
    assert [feature.name for feature in schema.sequences] == ["intention_cross"]


def test_without_user_and_item_as_features(tmp_path: Path) -> None:
    root = write_aliccp(tmp_path)
    data = AliCCP(root, fields=["shop_id", "gender"])
    assert [feature.name for feature in data.schema.features] == ["shop_id", "gender"]
    assert data.schema.user is data.schema.item is None
    assert rows_of(data)["group"].equals(rows_of(AliCCP(root))["group"])


def test_every_field_of_the_fixture_is_known() -> None:
    assert {*USER_FIELDS, *HISTORIES} < set(FIELDS.values())
    assert len(FIELDS) == len(set(FIELDS.values())) == 23


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fields": ["101"]}, r"\['101'\] are unknown; allowed are \['user_id'"),
        ({"fields": []}, "name at least one"),
        ({"fields": ["age", "age"]}, "each once"),
        ({"sequences": {"shops": 3}}, r"\['shops'\] are unknown"),
        ({"sequences": {"intention": 0}}, "allowed are lengths >= 1"),
        ({"sequences": {"user_id": 2}}, "one id per row"),
        ({"val_from": "dev"}, "val_from='dev'; allowed"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AliCCP(tmp_path, **arguments)
