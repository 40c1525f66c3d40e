import tracemalloc
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mtlzoo.datamodules import DataError
from mtlzoo.datamodules.logs import SideTable
from mtlzoo.datamodules.logs.side_tables import present
from mtlzoo.datamodules.values.domains import number, text, whole


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
    columns = {"range": text(missing=True), "code": whole(missing=True, points=True), "count": number(missing=True)}
    table = SideTable.read(tmp_path / "t.csv", "id", columns)
    found = table.of(pl.Series([0, 1, 2]))
    assert found.rows() == [("[1,5)", 1, 2.0), (None, None, None), ("x", 3, 0.5)]
    assert found.dtypes == [pl.String, pl.Int64, pl.Float64]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([0, 1, -1], r"t\.csv: row 3, column 'id': found -1; allowed is a whole number from 0 on"),
        ([0, None, 1], r"t\.csv: row 2, column 'id': found None"),
        ([0.0, 1.5, 2.0], r"t\.csv: column 'id' holds Float64; allowed are whole numbers"),
        (["0", "1", "2"], r"t\.csv: column 'id' holds String; allowed are whole numbers"),
    ],
)
def test_ids_of_the_table_that_are_none_are_refused(ids: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        SideTable(pl.DataFrame({"id": ids, "name": ["a", "b", "c"]}), "id", "t.csv")


@pytest.mark.parametrize("high", [2 * 10**9, 10**11, 2**63 - 1])
def test_memory_does_not_grow_with_the_size_of_an_id(high: int) -> None:
    tracemalloc.start()
    table = SideTable(pl.DataFrame({"id": [3, high, 0], "name": ["a", "b", "c"]}), "id")
    found = table.of(pl.Series([high, high - 1, 0, 3, 1, -1, None]))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert found["name"].to_list() == ["b", None, "c", "a", None, None, None]


@pytest.mark.parametrize("high", [7, 2**40])
def test_rows_that_repeat_count_once_and_must_not_differ(tmp_path: Path, high: int) -> None:
    path, columns = tmp_path / "t.csv", {"name": text(missing=True)}
    path.write_text(f"id,name\n{high},a\n5,\n{high},a\n5,\n2,x\n")
    assert SideTable.read(path, "id", columns).of(pl.Series([5, high, 2]))["name"].to_list() == [None, "a", "x"]
    path.write_text(f"id,name\n{high},a\n5,\n{high},a\n5,b\n2,x\n")
    with pytest.raises(DataError, match=r"t\.csv: id 5 has two rows that differ, rows 2 and 4"):
        SideTable.read(path, "id", columns)
    assert SideTable.read(path, "id", columns, once=False).of(pl.Series([5]))["name"].to_list() == [None]


@pytest.mark.parametrize("value", ["", "-1", "1.5", "1e3", "nan", "x", "9223372036854775808", "99999999999999999999"])
def test_ids_of_a_file_that_are_none_are_refused_with_their_line(tmp_path: Path, value: str) -> None:
    (tmp_path / "t.csv").write_text(f"name,id\na,0\n\nb,1\nc,{value}\n")
    with pytest.raises(DataError, match=r"t\.csv, line 5, column 'id'"):
        SideTable.read(tmp_path / "t.csv", "id", {"name": text()})


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,name\n")
    with pytest.raises(DataError, match=r"t\.csv: no rows"):
        SideTable.read(tmp_path / "t.csv", "id", {"name": text()})


def test_plain_files_come_before_packed_ones(tmp_path: Path) -> None:
    for name in ("a.csv", "a.csv.gz", "b.csv.gz"):
        (tmp_path / name).touch()
    assert present(tmp_path, ["b.csv", "a.csv", "c.csv"]) == (tmp_path / "b.csv.gz", tmp_path / "a.csv")
