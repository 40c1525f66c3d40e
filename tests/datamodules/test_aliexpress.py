import csv
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fixtures.aliexpress import write_aliexpress
from mtlzoo.datamodules import AliExpress, DataError, DatasetNotFoundError
from mtlzoo.datamodules.aliexpress import CODES, ITEM, MTRECLIB, NAMES, NUMBERS, USER
from mtlzoo.schema import UNKNOWN

FILES = ["nl_user_train.csv", "nl_item_train.csv", "nl_user_test.csv", "nl_item_test.csv"]


def rows_of(data: AliExpress) -> pl.DataFrame:
    return pl.concat(data.read())


def lines(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines()))


def test_fields_are_numbered_as_mtreclib_does() -> None:
    assert (len(USER), len(ITEM), len(CODES), len(NUMBERS), len(MTRECLIB)) == (33, 49, 16, 63, 82)
    assert {*CODES, *NUMBERS} == {*USER[1:], *ITEM[1:-1]}
    expected = {"user_2": 1, "user_8": 7, "user_32": 8, "user_33": 9, "item_19": 10, "item_34": 11, "item_42": 16}
    assert {field: int(NAMES[field].removeprefix("categorical_")) for field in expected} == expected
    expected = {"user_9": 1, "user_31": 23, "item_2": 24, "item_18": 40, "item_20": 41, "item_37": 55, "item_48": 63}
    assert {field: int(NAMES[field].removeprefix("numerical_")) for field in expected} == expected


def test_rows_are_those_of_a_plain_join(tmp_path: Path) -> None:
    root = write_aliexpress(tmp_path)
    rows = rows_of(AliExpress(root))
    expected = []
    for part in ("train", "test"):
        users = {row[0]: dict(zip(USER, row, strict=True)) for row in lines(root / f"nl_user_{part}.csv")}
        items = [dict(zip(ITEM, row, strict=True)) for row in lines(root / f"nl_item_{part}.csv")]
        expected += [item | users[item["search_id"]] for item in items if item["search_id"] in users]
        assert len(users) < len(items)
    assert rows["search_id"].to_list() == [row["search_id"] for row in expected]
    assert rows["click"].to_list() == [row["item_49"] in ("1", "2") for row in expected]
    assert rows["conversion"].to_list() == [row["item_49"] == "2" for row in expected]
    for field in CODES:
        assert rows[NAMES[field]].to_list() == [int(row[field]) if row[field] else None for row in expected], field
    for field in NUMBERS:
        numbers = pl.Series([float(row[field]) if row[field] else None for row in expected], dtype=pl.Float32)
        assert rows[NAMES[field]].to_list() == numbers.to_list(), field


def test_searches_and_impressions_without_a_partner_are_left_out(tmp_path: Path) -> None:
    root = write_aliexpress(tmp_path)
    users, items = ({row[0] for row in lines(root / name)} for name in FILES[:2])
    assert users - items
    assert items - users
    rows = rows_of(AliExpress(root)).filter(pl.col("split") != "test")
    assert set(rows["search_id"]) == users & items


def test_the_tasks_are_a_funnel_in_order(tmp_path: Path) -> None:
    data = AliExpress(write_aliexpress(tmp_path))
    assert [task.name for task in data.schema.tasks] == ["click", "conversion"]
    labels = data.data["train"]["labels"]
    assert not labels.isnan().any()  # the conversion counts without a click, too
    assert bool((labels[:, 1] <= labels[:, 0]).all())
    assert 0 < labels[:, 1].sum() < labels[:, 0].sum()


def test_the_layout_of_mtreclib_gives_the_same_data(tmp_path: Path) -> None:
    raw = AliExpress(write_aliexpress(tmp_path / "raw"))
    ready = AliExpress(write_aliexpress(tmp_path / "ready", layout="mtreclib"))
    assert [path.name for path in ready.files()] == ["train.csv", "test.csv"]
    assert ready.schema == raw.schema
    for split in ("train", "val", "test"):
        for name in ("categorical", "numeric", "labels"):
            assert bool((ready.data[split][name] == raw.data[split][name]).all()), (split, name)


def test_files_of_mtreclib_at_the_root_itself(tmp_path: Path) -> None:
    root = write_aliexpress(tmp_path, layout="mtreclib", packed="gz")
    rows = rows_of(AliExpress(root))
    assert rows_of(AliExpress(root / "AliExpress_NL")).equals(rows)


def test_the_publishers_files_come_first(tmp_path: Path) -> None:
    write_aliexpress(tmp_path)
    write_aliexpress(tmp_path, layout="mtreclib")
    assert [path.name for path in AliExpress(tmp_path).files()] == FILES


def test_numbers_are_as_published_and_missing_ones_the_mean(tmp_path: Path) -> None:
    data = AliExpress(write_aliexpress(tmp_path))
    raw = rows_of(data).filter(pl.col("split") == "train")["numerical_7"]
    prepared = data.data["train"]["numeric"][:, 6]
    missing = raw.is_null()
    assert missing.any()
    assert prepared[(~missing).to_torch()].tolist() == raw.drop_nulls().to_list()
    mean = raw.mean()
    assert isinstance(mean, float)
    assert prepared[missing.to_torch()].tolist() == pytest.approx([mean] * int(missing.sum()), abs=1e-6)


def test_codes_missing_or_unseen_in_train_are_unknown(tmp_path: Path) -> None:
    data = AliExpress(write_aliexpress(tmp_path))
    raw = rows_of(data).filter(pl.col("split") == "test")["categorical_12"]
    ids = data.data["test"]["categorical"][:, 11]
    assert raw.is_null().any()
    assert (raw == 9).any()
    assert (ids == UNKNOWN).tolist() == (raw.is_null() | (raw == 9).fill_null(False)).to_list()
    assert data.schema.categorical[11].cardinality == 2 + 9  # train and test share the vocabulary of train


def test_a_row_per_impression_in_the_user_file_gives_the_same_rows(tmp_path: Path) -> None:
    once = rows_of(AliExpress(write_aliexpress(tmp_path / "once")))
    root = write_aliexpress(tmp_path / "again", per_impression=True)
    assert len(lines(root / FILES[0])) > len({row[0] for row in lines(root / FILES[0])})
    assert rows_of(AliExpress(root)).equals(once)


def test_a_search_with_two_different_rows_is_refused(tmp_path: Path) -> None:
    root = write_aliexpress(tmp_path)
    first, *others = lines(root / FILES[0])
    rows = [first, *others, [*first[:10], "77.5", *first[11:]]]
    (root / FILES[0]).write_text("".join(",".join(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=rf"nl_user_train\.csv: search_id '{first[0]}' occurs more than once"):
        rows_of(AliExpress(root))


def test_codes_written_with_a_point_are_the_same(tmp_path: Path) -> None:
    plain = rows_of(AliExpress(write_aliexpress(tmp_path / "plain")))
    assert rows_of(AliExpress(write_aliexpress(tmp_path / "points", points=True))).equals(plain)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (1, "1.5", r"'user_2': found 1\.5; allowed is a whole number"),
        (1, "3000000000", "'user_2': found 3000000000"),
        (9, "x", "line 3, column 'user_10'"),
        (0, "", "'search_id': found None"),
    ],
)
def test_wrong_values_are_refused(tmp_path: Path, field: int, value: str, message: str) -> None:
    root = write_aliexpress(tmp_path)
    rows = lines(root / FILES[0])
    rows[2][field] = value
    (root / FILES[0]).write_text("".join(",".join(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=message):
        rows_of(AliExpress(root))


def test_another_label_is_refused(tmp_path: Path) -> None:
    root = write_aliexpress(tmp_path)
    rows = lines(root / FILES[1])
    rows[5][-1] = "3"
    (root / FILES[1]).write_text("".join(",".join(row) + "\n" for row in rows))
    with pytest.raises(
        DataError,
        match=r"nl_item_train\.csv, line 6, column 'item_49': found 3\.0; allowed is a whole number from 0 to 2",
    ):
        rows_of(AliExpress(root))


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    root = write_aliexpress(tmp_path)
    write_aliexpress(tmp_path / "other", seed=1)
    (tmp_path / "other" / FILES[0]).rename(root / FILES[0])
    with pytest.raises(DataError, match=r"nl_item_train\.csv: none of its searches is in .*nl_user_train\.csv"):
        rows_of(AliExpress(root))


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    root = write_aliexpress(tmp_path)
    (root / FILES[0]).write_text((root / FILES[1]).read_text())
    with pytest.raises(DataError, match="49 fields where 33 are expected"):
        rows_of(AliExpress(root))


@pytest.mark.parametrize("packed", ["gz", "zip", "zip in zip"])
def test_packed_files_give_the_same_rows(tmp_path: Path, packed: Any) -> None:
    plain = rows_of(AliExpress(write_aliexpress(tmp_path / "plain")))
    root = write_aliexpress(tmp_path / "packed", packed=packed)
    assert rows_of(AliExpress(root)).equals(plain)
    assert rows_of(AliExpress(root)).equals(plain)


@pytest.mark.parametrize(("line_end", "mark"), [("\r\n", ""), ("\n", "\ufeff"), ("\r\n", "\ufeff")])
@pytest.mark.parametrize("layout", ["raw", "mtreclib"])
def test_line_ends_and_byte_order_marks_change_nothing(tmp_path: Path, layout: Any, line_end: str, mark: str) -> None:
    plain = rows_of(AliExpress(write_aliexpress(tmp_path / "plain", layout=layout)))
    root = write_aliexpress(tmp_path / "other", layout=layout, line_end=line_end, mark=mark)
    assert rows_of(AliExpress(root)).equals(plain)


@pytest.mark.slow
def test_blocks_of_any_size_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_aliexpress(tmp_path, per_impression=True)
    whole = rows_of(AliExpress(root))
    monkeypatch.setattr("mtlzoo.datamodules.aliexpress.BLOCK", 4000)
    parts = list(AliExpress(root).read())
    assert len(parts) > 20
    assert pl.concat(parts).equals(whole)


@pytest.mark.parametrize("country", ["ES", "FR", "US"])
def test_other_countries_beside_each_other(tmp_path: Path, country: Any) -> None:
    write_aliexpress(tmp_path, "NL", rows=60)
    write_aliexpress(tmp_path, country, seed=1)
    write_aliexpress(tmp_path / "alone", country, seed=1)
    data = AliExpress(tmp_path, country=country)
    assert [path.name[:2] for path in data.files()] == [country.lower()] * 4
    assert rows_of(data).equals(rows_of(AliExpress(tmp_path / "alone", country=country)))


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_with_where_to_get_it(tmp_path: Path, name: str) -> None:
    (write_aliexpress(tmp_path) / name).unlink()
    with pytest.raises(DatasetNotFoundError, match=rf"no {name} in .*Log in at https://tianchi.*/74690.*root="):
        AliExpress(tmp_path).files()


def test_a_web_page_saved_as_the_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "aliexpress_NL_datasets.zip").write_bytes(b"<!DOCTYPE html><html><body>Log in</body></html>")
    with pytest.raises(DataError, match=r"aliexpress_NL_datasets\.zip: a web page"):
        AliExpress(tmp_path).files()


def test_a_cut_archive_is_refused(tmp_path: Path) -> None:
    archive = write_aliexpress(tmp_path, packed="zip") / "nl_item_test.zip"
    archive.write_bytes(archive.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"nl_item_test\.zip: .*Delete it"):
        AliExpress(tmp_path).files()


@pytest.mark.slow
@pytest.mark.parametrize(("val_from", "share", "whole"), [("train", 0.1, "test"), ("test", 0.5, "train")])
def test_validation_takes_whole_searches_of_one_part(tmp_path: Path, val_from: Any, share: float, whole: str) -> None:
    root = write_aliexpress(tmp_path, rows=6000)
    rows = rows_of(AliExpress(root, val_from=val_from))
    searches = {split: set(part["search_id"]) for (split,), part in rows.partition_by("split", as_dict=True).items()}
    assert not searches["val"] & searches[val_from]
    found = len(searches["val"]) / (len(searches["val"]) + len(searches[val_from]))
    assert found == pytest.approx(share, abs=0.06)
    users, items = ({row[0] for row in lines(root / f"nl_{kind}_{whole}.csv")} for kind in ("user", "item"))
    assert searches[whole] == users & items


def test_the_draw_of_validation_depends_on_its_seed_alone(tmp_path: Path) -> None:
    root = write_aliexpress(tmp_path)
    one, same, other = (AliExpress(root, split_seed=seed) for seed in (1, 1, 2))
    assert rows_of(one).equals(rows_of(same))
    assert not rows_of(one)["split"].equals(rows_of(other)["split"])
    assert one.folder == same.folder != other.folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"country": "nl"}, r"country='nl'; allowed are \['NL'"),
        ({"val_from": "dev"}, "val_from='dev'; allowed"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AliExpress(tmp_path, **arguments)


def test_impressions_without_their_search_are_counted(tmp_path: Path) -> None:
    root = write_aliexpress(tmp_path)
    manifest = AliExpress(root).data.manifest
    assert set(manifest["dropped"]) == {"search not in nl_user_train.csv", "search not in nl_user_test.csv"}
    assert sum(manifest["dropped"].values()) + sum(manifest["rows"].values()) == 1800


@pytest.mark.parametrize("name", [FILES[0], FILES[2]])
def test_half_a_user_file_is_refused(tmp_path: Path, name: str) -> None:
    path = write_aliexpress(tmp_path) / name
    text = path.read_text().splitlines(keepends=True)
    path.write_text("".join(text[: len(text) // 3]))
    with pytest.raises(DataError, match=rf"are dropped as 'search not in {name}'; at most 10\.0%"):
        assert AliExpress(tmp_path).data


def test_a_conversion_without_a_click_is_refused(tmp_path: Path) -> None:
    path = write_aliexpress(tmp_path, layout="mtreclib") / "AliExpress_NL" / "test.csv"
    rows = lines(path)
    rows[4][-2:] = ["0", "1"]
    path.write_text("".join(",".join(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"'conversion': found 1; allowed is 0 where click is 0 \(test\.csv\)"):
        rows_of(AliExpress(tmp_path))


def test_a_folder_in_a_files_place_is_refused(tmp_path: Path) -> None:
    path = write_aliexpress(tmp_path) / FILES[1]
    path.unlink()
    path.mkdir()
    with pytest.raises(DatasetNotFoundError, match=rf"{FILES[1]}: a folder, where a file is expected"):
        AliExpress(tmp_path).files()
