from pathlib import Path

import polars as pl

from mtlzoo.datamodules.side_table import SideTable, present


def test_rows_are_found_by_id_in_any_order() -> None:
    table = SideTable(pl.DataFrame({"name": ["b", "a", "c"], "id": [4, 0, 9]}), "id")
    found = table.of(pl.Series([9, 0, 0, 4]))
    assert found.to_dict(as_series=False) == {"name": ["c", "a", "a", "b"]}


def test_ids_without_a_row_have_nothing() -> None:
    table = SideTable(pl.DataFrame({"id": [0, 3], "name": ["a", "b"], "tags": [[1], [2, 3]]}), "id")
    found = table.of(pl.Series([3, 1, 4, 10**12, -1, -2, None]))
    assert found["name"].to_list() == ["b", *[None] * 6]
    assert found["tags"].to_list() == [[2, 3], *[None] * 6]


def test_the_first_of_several_rows_counts() -> None:
    table = SideTable(pl.DataFrame({"id": [1, 2, 1, 2], "day": [1, 1, 2, 2]}), "id")
    assert table.of(pl.Series([2, 1]))["day"].to_list() == [1, 1]


def test_codes_are_integers_however_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('id,range,code,count\n0,"[1,5)",1.0,2\n1,,,\n2,x,3,0.5\n')
    table = SideTable.read(tmp_path / "t.csv", "id", names=["range"], codes=["code"], counts=["count"])
    found = table.of(pl.Series([0, 1, 2]))
    assert found.rows() == [("[1,5)", 1, 2.0), (None, None, None), ("x", 3, 0.5)]
    assert found.dtypes == [pl.String, pl.Int64, pl.Float32]


def test_plain_files_come_before_packed_ones(tmp_path: Path) -> None:
    for name in ("a.csv", "a.csv.gz", "b.csv.gz"):
        (tmp_path / name).touch()
    assert present(tmp_path, ["b.csv", "a.csv", "c.csv"]) == (tmp_path / "b.csv.gz", tmp_path / "a.csv")
