"""Raw files: what is read right, and what is refused with file, line, column, value and remedy."""

import codecs
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError
from mtlzoo.datamodules.reading import read_csv, read_parquet


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def table(path: Path, **options: Any) -> pl.DataFrame:
    return pl.concat(list(read_csv(path, **options)))


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
@pytest.mark.parametrize("batch_bytes", [7, 1 << 20])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_rows_come_in_order_whatever_the_blocks(tmp_path: Path, name: str, batch_bytes: int, end: bytes) -> None:
    lines = [b"id,name,price"] + [b"%d,n%d,%d.5" % (i, i, i) for i in range(50)]
    path = written(tmp_path / name, end.join(lines))  # no line break at the end
    frame = table(path, columns={"price": pl.Float64, "id": pl.Int64, "name": pl.String}, batch_bytes=batch_bytes)
    assert frame.columns == ["price", "id", "name"]
    assert frame["id"].to_list() == list(range(50))
    assert frame["name"][49] == "n49"
    assert frame["price"].to_list() == [i + 0.5 for i in range(50)]


def test_types_left_open_are_those_of_the_first_block(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", b"a,b,c\n1,x,\n2,y,\n3,z,7\n")
    frame = table(path, batch_bytes=8)
    assert frame.schema == {"a": pl.Int64, "b": pl.String, "c": pl.String}
    assert frame["c"].to_list() == [None, None, "7"]


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "packed.csv"
    path.write_bytes(gzip.compress(b"a\n1\n") + gzip.compress(b"2\n"))  # two members, as some logs are appended to
    assert table(path)["a"].to_list() == [1, 2]


def test_byte_order_mark_quotes_and_blank_lines(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", b'\xef\xbb\xbf"id",tag\n1,"12,65"\n\n2,"say ""hi"""\r\n\r\n3,\n')
    frame = table(path, columns={"id": pl.Int64, "tag": pl.String})
    assert frame.rows() == [(1, "12,65"), (2, 'say "hi"'), (3, None)]


def test_census_form(tmp_path: Path) -> None:
    path = written(tmp_path / "t.data", b"38, Private, ?, 1700.09\n 44, ?,  Widowed , 5\n")
    types = {"age": pl.Int64, "work": pl.String, "status": pl.String, "weight": pl.Float64}
    frame = table(path, columns=types, header=list(types), null_values=["?"], strip=True)
    assert frame.rows() == [(38, "Private", None, 1700.09), (44, None, "Widowed", 5.0)]


def test_tabs_without_quoting_and_latin_1(tmp_path: Path) -> None:
    path = written(
        tmp_path / "artists.dat", 'id\tname\n1\t"Weird Al\n2\tBj\xf6rk\n3\tSigur R\xf3s"\n'.encode("latin-1")
    )
    frame = table(path, separator="\t", encoding="latin-1", quote=False)
    assert frame["name"].to_list() == ['"Weird Al', "Björk", 'Sigur Rós"']


def test_missing_texts_are_null_in_every_type(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", b"a,b,c\n\\N,x,1\n2,\\N,\\N\n")
    frame = table(path, columns={"a": pl.Int64, "b": pl.String, "c": pl.Float64}, null_values=["\\N"])
    assert frame.rows() == [(None, "x", 1.0), (2, None, None)]


GOOD = b"a,b\n" + b"1,2\n" * 500


@pytest.mark.parametrize("batch_bytes", [64, 1 << 20])
@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (GOOD + b"\n3,4,5\n", {}, r"t.csv, line 503: 3 fields where 2 are expected \('3,4,5'\). Repair"),
        (GOOD + b"\n3\n6,7\n", {}, r"t.csv, line 503: 1 fields where 2 are expected \('3'\). Repair"),
        (GOOD + b"3,x y\n", {"columns": {"b": pl.Int64}}, r"line 502, column 'b': invalid value 'x y'; expected int64"),
        (GOOD + b"3,4.0\n", {"columns": {"b": pl.Int64}}, r"line 502, column 'b': invalid value '4.0'; expected int64"),
        (GOOD + b"3,\xff\n", {}, r"t.csv, line 502: byte 0xff is not utf-8. Get the file anew"),
        (GOOD + b"3,\xff\n", {"own": True}, r"t.csv, line 502: byte 0xff is not utf-8. .*encoding='latin-1'"),
        (
            GOOD + b'3,"4\n5,6\n7,8"\n',
            {},
            r"t.csv, line 502(, column 'b')?: quote or line break inside a value \('3,\"4'\)",
        ),
        (
            GOOD + b'3,"4\n' + GOOD[4:],
            {},
            r"t.csv, line 502(, column 'b')?: quote or line break inside a value \('3,\"4'\)",
        ),
        (b"", {}, r"t.csv: the file is empty"),
        (b"a,b\n1,2\n", {"columns": {"c": None, "b": None}}, r"t.csv: no column \['c'\]; it has \['a', 'b'\]"),
        (b"a,b,a\n1,2,3\n", {}, r"t.csv: column names \['a'\] occur more than once"),
        (b"1,2,3\n", {"header": ["x", "y"]}, r"t.csv, line 1: 3 fields where 2 are expected"),
        (b"a;b\n1;2\n", {"columns": {"b": pl.Int64}}, r"no column \['b'\]; it has \['a;b'\]. .*separator"),
    ],
)
def test_refused_with_place_value_and_remedy(
    tmp_path: Path, data: bytes, options: dict[str, Any], message: str, batch_bytes: int
) -> None:
    path = written(tmp_path / "t.csv", data)
    with pytest.raises(DataError, match=message):
        table(path, batch_bytes=batch_bytes, **options)


ROWS = [("b", 2.0, "1"), ("c", None, "0")]
MAC = b"u,x,y\r" + b"b,2,1\rc,,0\r"


@pytest.mark.parametrize("batch_bytes", [4, 1 << 20])
@pytest.mark.parametrize(
    ("data", "options"),
    [
        (b"u,x,y\nb,2,1\nc,,0\n", {}),
        (b"\xef\xbb\xbfu,x,y\nb,2,1\nc,,0\n", {"encoding": "utf-8-sig"}),
        (b"\xef\xbb\xbfu,x,y\nb,2,1\nc,,0\n", {"encoding": "latin-1"}),
        (b"\n\r\n \nu,x,y\n\nb,2,1\nc,,0\n\n", {}),
        (b"\xef\xbb\xbf\nu,x,y\nb,2,1\nc,,0", {}),
        (b" u , x,y \nb,2,1\nc,,0\n", {}),
        (b"u, x, y\nb, 2, 1\nc, , 0\n", {"strip": True}),
        (b"u,x,y,,\nb,2,1,,\nc,,0,,\n", {}),
        (b",u,x,y\n0,b,2,1\n1,c,,0\n", {}),
        (MAC, {}),
        (MAC.rstrip(), {}),
        (b"u;x;y\nb;2,0;1\nc;;0\n", {"decimal": ",", "separator": ";"}),
        (b'u,x,y\nb,"2,0",1\nc,"",0\n', {"decimal": ","}),
        (b"u,x,y\nb,2,1\nc,NA,0\n", {"null_values": ["NA"]}),
        (b'u,x,y,t\nb,2,1,"one\ntwo"\nc,,0,"a\r\n\nb ""c"", d"\n', {}),
        (b't,u,x,y\n"one, \ntwo",b,2,1\n"",c,,0\n', {}),
        (b'u,t,x,y\nb,"\n",2,1\n\nc,"5""",,0\n', {}),
        (b'u,x,y,t\nb,2,1,5" wide\nc,,0,6" wide\n', {}),
    ],
)
def test_tables_as_people_have_them(tmp_path: Path, data: bytes, options: dict[str, Any], batch_bytes: int) -> None:
    for name in ("t.csv", "t.csv.gz"):
        path = written(tmp_path / name, data)
        types = {"u": pl.String, "x": pl.Float64, "y": pl.String}
        assert table(path, columns=types, batch_bytes=batch_bytes, **options).rows() == ROWS


@pytest.mark.parametrize("batch_bytes", [4, 1 << 20])
@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b'u,x,t\nb,1,d\n"a\nb",1,e\n', 3),  # in a column that is read
        (b'u,x,t\nb,1,"d\ne"\n"a\nb",1,e\n', 4),
        (b'u,x,t\nb,1,d\na,2,"e\nb,3,f\nc,4,g"\nd,5,h\n', 3),  # rows that a quote swallows
        (b'u,x,t\nb,1,d\na,2,"e\n\nb,3,"f\n', 3),
        (b'u,x,t\nb,1,"d\na,2,e\n\nb,3,f\n', 2),
        (b"u,x,t\nb,1,d\na,2,e\rf\n", 3),
        (b'u,x,t\nb,1,d\na,2,\r"e"\n', 3),
    ],
)
@pytest.mark.parametrize("own", [False, True])
def test_breaks_that_are_refused(tmp_path: Path, data: bytes, line: int, batch_bytes: int, own: bool) -> None:
    path = written(tmp_path / "t.csv", data)
    with pytest.raises(DataError, match=f"t.csv, line {line}.*: (quote or line break|1 fields)") as refused:
        table(path, columns={"u": pl.String, "x": pl.Int64}, batch_bytes=batch_bytes, own=own)
    assert ("quote=" in str(refused.value)) == own


@pytest.mark.parametrize("batch_bytes", [4, 1 << 20])
def test_lines_are_counted_through_breaks(tmp_path: Path, batch_bytes: int) -> None:
    path = written(tmp_path / "t.csv", b'u,t\n\n1,"a\n\nb"\n2,"c\nd"\nx,e\n')
    with pytest.raises(DataError, match=r"t.csv, line 8, column 'u': .*'x'"):
        table(path, columns={"u": pl.Int64}, batch_bytes=batch_bytes)


def test_a_file_of_another_encoding_is_named_as_such(tmp_path: Path) -> None:
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        with pytest.raises(DataError, match="UTF-16"):
            table(written(tmp_path / "t.csv", "u,x\nb,2\n".encode(encoding)))


@pytest.mark.parametrize("batch_bytes", [64, 1 << 20])
@pytest.mark.parametrize(
    ("name", "encoding", "mark"),
    [
        ("t.csv", "utf-8", b""),
        ("t.csv", "utf-8", codecs.BOM_UTF8),
        ("t.csv.gz", "utf-8", codecs.BOM_UTF8),
        ("t.csv", "latin-1", b""),
    ],
)
def test_the_line_is_that_of_the_file_whatever_came_before(
    tmp_path: Path, name: str, encoding: str, mark: bytes, batch_bytes: int
) -> None:
    lines = "a,b\n" + "\n" + "1,é\n" * 300 + "x,2\n" + "1,2\n" * 300
    data = mark + lines.encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with pytest.raises(DataError, match=f"{name}, line 303, column 'a': invalid value 'x'"):
        table(tmp_path / name, columns={"a": pl.Int64, "b": pl.String}, encoding=encoding, batch_bytes=batch_bytes)


def test_a_type_that_the_first_block_suggested_wrongly(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", GOOD + b"3,x\n")
    with pytest.raises(
        DataError, match=r"line 502, column 'b': invalid value 'x'; expected int64. .*read the column as text"
    ):
        table(path, batch_bytes=64, own=True)
    assert table(path, batch_bytes=64, columns={"a": None, "b": pl.String})["b"][-1] == "x"


@pytest.mark.parametrize("batch_bytes", [100, 1 << 20])
@pytest.mark.parametrize("cut", [1, 9, 40])
def test_truncated_gzip(tmp_path: Path, cut: int, batch_bytes: int) -> None:
    random = np.random.default_rng(0).integers(0, 1 << 40, 300)
    data = gzip.compress(b"a\n" + b"".join(b"%d\n" % i for i in random))
    (tmp_path / "t.csv.gz").write_bytes(data[:-cut])
    with pytest.raises(DataError, match=r"t.csv.gz: gzip truncated or damaged .*Download it again"):
        table(tmp_path / "t.csv.gz", batch_bytes=batch_bytes)


def test_damaged_gzip_and_no_gzip(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(b"a\n" + b"12345\n" * 1000))
    data[-6] ^= 1  # checksum
    (tmp_path / "t.csv.gz").write_bytes(data)
    with pytest.raises(DataError, match="gzip truncated or damaged"):
        table(tmp_path / "t.csv.gz")
    (tmp_path / "t.csv.gz").write_bytes(b"not found\n")
    with pytest.raises(DataError, match=r"named .gz but not a gzip file"):
        table(tmp_path / "t.csv.gz")


def test_missing_file_and_unusable_encodings(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"t.csv: no such file"):
        table(tmp_path / "t.csv")
    with pytest.raises(ValueError, match=r"encoding=.klingon.: unknown"):
        table(written(tmp_path / "t.csv", b"a\n1\n"), encoding="klingon")
    with pytest.raises(ValueError, match="encoding='utf-16': its line breaks are not one byte"):
        table(tmp_path / "t.csv", encoding="utf-16")


def test_parquet_in_chunks(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame({"a": range(10), "b": [[i] for i in range(10)], "c": "x"}).write_parquet(path)
    chunks = list(read_parquet(path, columns=["b", "a"], batch_rows=4))
    assert [len(chunk) for chunk in chunks] == [4, 4, 2]
    assert set(chunks[0].columns) == {"a", "b"}
    assert pl.concat(chunks)["b"].to_list() == [[i] for i in range(10)]


def test_parquet_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with pytest.raises(DatasetNotFoundError, match=r"t.parquet: no such file"):
        list(read_parquet(path))
    pl.DataFrame({"a": range(1000)}).write_parquet(path)
    with pytest.raises(DataError, match=r"t.parquet: no column \['b'\]; it has \['a'\]"):
        list(read_parquet(path, columns=["b"]))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"t.parquet: not a whole Parquet file"):
        list(read_parquet(path))


@pytest.mark.parametrize("line", ["a\rb,c", f"{'x' * 200_000},y"])
def test_a_first_line_that_is_no_names_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(f"{line}\n1,2\n".encode())
    with pytest.raises(DataError, match=r"t\.csv, line 1: .* is no line of names between ','"):
        list(read_csv(path))
