"""Ali-CCP's files: in whatever form and folder people have them, and what is refused."""

import csv
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fixtures.aliccp import write_aliccp
from mtlzoo.datamodules import AliCCP, DataError, DatasetNotFoundError

PARTS = ("train", "test")
FILES = [f"{stem}_{part}.csv" for part in PARTS for stem in ("sample_skeleton", "common_features")]


def rows_of(data: AliCCP) -> pl.DataFrame:
    return pl.concat(data.read())


def test_a_field_may_be_in_either_file(tmp_path: Path) -> None:
    before = rows_of(AliCCP(write_aliccp(tmp_path / "a")))
    root = write_aliccp(tmp_path / "b")
    for part in PARTS:
        common = _lines(root / f"common_features_{part}.csv")
        ages = {}
        for row in common:
            kept = [entry for entry in row[2].split("\x01") if not entry.startswith("125\x02")]
            ages[row[0]] = [entry for entry in row[2].split("\x01") if entry.startswith("125\x02")]
            row[1:] = [str(len([entry for entry in kept if entry])), "\x01".join(kept)]
        _write(root / f"common_features_{part}.csv", common)
        skeleton = _lines(root / f"sample_skeleton_{part}.csv")
        for row in skeleton:
            more = [*filter(None, row[5].split("\x01")), *ages[row[3]]]
            row[4:] = [str(len(more)), "\x01".join(more)]
        _write(root / f"sample_skeleton_{part}.csv", skeleton)
    # Groups number the rows of the common features, whose order is the same.
    assert rows_of(AliCCP(root)).equals(before)


def test_a_field_in_both_files_is_refused(tmp_path: Path) -> None:
    root = write_aliccp(tmp_path)
    _change(root / "common_features_train.csv", 3, lambda row: [row[0], "1", "205\x021\x031.0"])
    with pytest.raises(DataError, match=r"both hold fields \['205'\]"):
        rows_of(AliCCP(root))


@pytest.mark.parametrize("packed", ["gz", "tar.gz"])
def test_packed_files_give_the_same_rows(tmp_path: Path, packed: Any) -> None:
    plain = rows_of(AliCCP(write_aliccp(tmp_path / "plain")))
    assert rows_of(AliCCP(write_aliccp(tmp_path / "packed", packed=packed))).equals(plain)


@pytest.mark.parametrize(("line_end", "mark"), [("\r\n", ""), ("\n", "\ufeff"), ("\r\n", "\ufeff")])
def test_line_ends_and_byte_order_marks_change_nothing(tmp_path: Path, line_end: str, mark: str) -> None:
    plain = rows_of(AliCCP(write_aliccp(tmp_path / "plain")))
    assert rows_of(AliCCP(write_aliccp(tmp_path / "other", line_end=line_end, mark=mark))).equals(plain)


@pytest.mark.slow
def test_blocks_of_any_size_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_aliccp(tmp_path)
    whole = rows_of(AliCCP(root))
    monkeypatch.setattr("mtlzoo.datamodules.aliccp.BLOCK", 2000)
    parts = list(AliCCP(root).read())
    assert len(parts) > 20
    assert pl.concat(parts).equals(whole)


def test_files_in_folders_of_their_archives(tmp_path: Path) -> None:
    root = write_aliccp(tmp_path)
    for name in FILES:
        folder = root / name.replace("common_features", "sample").replace("sample_skeleton", "sample")[:-4]
        folder.mkdir(exist_ok=True)
        (root / name).rename(folder / name)
    assert [path.name for path in AliCCP(root).files()] == FILES


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_with_where_to_get_it(tmp_path: Path, name: str) -> None:
    (write_aliccp(tmp_path) / name).unlink()
    with pytest.raises(DatasetNotFoundError, match=rf"no {name}.*Log in at https://tianchi.*/408.*root="):
        AliCCP(tmp_path).files()


def test_a_web_page_saved_as_the_archive_is_refused(tmp_path: Path) -> None:
    root = write_aliccp(tmp_path, packed="tar.gz")
    (root / "sample_test.tar.gz").write_bytes(b"<!DOCTYPE html><html><body>Log in</body></html>")
    with pytest.raises(DataError, match=r"sample_test\.tar\.gz"):
        AliCCP(root).files()


def test_a_cut_archive_is_refused(tmp_path: Path) -> None:
    root = write_aliccp(tmp_path, packed="tar.gz")
    archive = root / "sample_train.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-5000])
    with pytest.raises(DataError, match=r"sample_train\.tar\.gz: damaged"):
        AliCCP(root).files()


def test_a_cut_line_is_refused(tmp_path: Path) -> None:
    root = write_aliccp(tmp_path)
    path = root / "sample_skeleton_test.csv"
    text = path.read_text()
    path.write_text(text[: text.rindex("\x01")])
    with pytest.raises(DataError, match=r"sample_skeleton_test\.csv, 750: .* are announced"):
        rows_of(AliCCP(root))


def test_a_row_without_common_features_is_refused(tmp_path: Path) -> None:
    root = write_aliccp(tmp_path)
    _change(root / "sample_skeleton_train.csv", 7, lambda row: [*row[:3], "0" * 16, *row[4:]])
    with pytest.raises(DataError, match=r"index '0000000000000000' is not in .*common_features_train"):
        rows_of(AliCCP(root))


def test_repeated_common_features_are_refused(tmp_path: Path) -> None:
    root = write_aliccp(tmp_path)
    path = root / "common_features_test.csv"
    path.write_text(path.read_text() + path.read_text().split("\n")[0] + "\n")
    with pytest.raises(DataError, match=r"common_features_test\.csv: index '\w{16}' occurs more than once"):
        rows_of(AliCCP(root))


def test_another_field_that_repeats_is_refused_until_it_is_a_sequence(tmp_path: Path) -> None:
    root = write_aliccp(tmp_path)
    string = "\x01".join(["205\x02400001\x031.0", "216\x025\x031.0", "216\x026\x031.0"])
    _change(root / "sample_skeleton_train.csv", 7, lambda row: [row[0], "0", "0", row[3], "3", string])
    with pytest.raises(DataError, match=r"sample_skeleton_train\.csv, 8: field 216 occurs more than once.*sequences="):
        rows_of(AliCCP(root))
    rows = rows_of(AliCCP(root, sequences={"brand_id": 2}))
    assert rows["brand_id"].dtype == pl.List(pl.Int32)
    assert rows.filter(pl.col("sample_id") == 8)["brand_id"][0].to_list() == [5, 6]


def test_clicks_and_conversions_that_are_exchanged_are_refused(tmp_path: Path) -> None:
    root = write_aliccp(tmp_path)
    for part in PARTS:
        path = root / f"sample_skeleton_{part}.csv"
        _write(path, [[row[0], row[2], row[1], *row[3:]] for row in _lines(path)])
    with pytest.raises(DataError, match=r"are dropped as 'conversion without click .*; at most 50\.0%"):
        assert AliCCP(root).data


@pytest.mark.parametrize(
    ("one", "other", "message"), [(0, 3, "'sample_id'"), (1, 4, "'click'"), (3, 5, "skeleton"), (1, 0, "'click'")]
)
def test_columns_that_are_exchanged_are_refused(tmp_path: Path, one: int, other: int, message: str) -> None:
    path = write_aliccp(tmp_path) / "sample_skeleton_test.csv"
    rows = _lines(path)
    for row in rows:
        row[one], row[other] = row[other], row[one]
    _write(path, rows)
    with pytest.raises(DataError, match=message):
        rows_of(AliCCP(tmp_path))


def _lines(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines()))


def _change(path: Path, line: int, change: Any) -> None:
    rows = _lines(path)
    rows[line] = change(rows[line])
    _write(path, rows)


def _write(path: Path, rows: list[list[str]]) -> None:
    path.write_text("".join(",".join(row) + "\n" for row in rows))
