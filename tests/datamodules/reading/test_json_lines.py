import ast
import gzip
import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mtlzoo.datamodules import DataError, DatasetNotFoundError
from mtlzoo.datamodules.reading import read_json_lines
from mtlzoo.datamodules.reading.python_literals import literals_as_json
from mtlzoo.datamodules.values.domains import whole

TYPES = {"id": pl.String, "stars": pl.Float64, "good": pl.Boolean, "votes": pl.List(pl.Int64)}


def written(folder: Path, *lines: str, name: str = "lines.json") -> Path:
    path = folder / name
    path.write_bytes("\n".join(lines).encode())
    return path


def rows_of(path: Path, types: Any = TYPES, **options: Any) -> list[tuple[Any, ...]]:
    return pl.concat(read_json_lines(path, types, **options)).rows()


def test_reads_the_wanted_keys_and_skips_the_others(tmp_path: Path) -> None:
    path = written(tmp_path, '{"id":"a","style":{"Size:":" L"},"stars":4,"image":["x"],"votes":[1,2],"good":true}')
    assert rows_of(path) == [("a", 4.0, True, [1, 2])]


def test_missing_keys_and_null_are_null(tmp_path: Path) -> None:
    path = written(tmp_path, '{"id":"a"}', '{"stars":5.0,"id":null}', "{}")
    assert rows_of(path) == [("a", None, None, None), (None, 5.0, None, None), (None, None, None, None)]


def test_a_key_that_no_line_has_is_null(tmp_path: Path) -> None:
    assert rows_of(written(tmp_path, '{"other":1}')) == [(None, None, None, None)]


def test_blank_lines_and_carriage_returns_are_skipped(tmp_path: Path) -> None:
    path = written(tmp_path, "", '{"id":"a"}\r', "\r", "  ", '{"id":"b"}', "", "")
    assert [row[0] for row in rows_of(path)] == ["a", "b"]


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    assert rows_of(written(tmp_path, '\ufeff{"id":"a"}'))[0][0] == "a"


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c"])
def test_unicode_line_separators_inside_strings_end_no_line(tmp_path: Path, separator: str) -> None:
    text = json.dumps({"text": f"one{separator}two", "id": f"a{separator}b"}, ensure_ascii=False)
    assert [row[0] for row in rows_of(written(tmp_path, text, '{"id":"c"}'))] == [f"a{separator}b", "c"]


def test_gzipped_files_and_small_blocks_give_the_same_rows(tmp_path: Path) -> None:
    lines = [json.dumps({"id": f"ü{i}", "stars": i, "text": "x" * (i % 50)}, ensure_ascii=False) for i in range(500)]
    plain = written(tmp_path, *lines)
    packed = tmp_path / "lines.json.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert rows_of(plain) == rows_of(packed) == rows_of(plain, batch_bytes=100)
    assert [row[0] for row in rows_of(plain, batch_bytes=100)] == [f"ü{i}" for i in range(500)]


def test_a_truncated_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lines.json.gz"
    lines = "\n".join(json.dumps({"id": random.Random(i).random().hex()}) for i in range(1000))
    path.write_bytes(gzip.compress(lines.encode())[:-200])
    with pytest.raises(DataError, match=r"lines\.json\.gz: gzip truncated or damaged"):
        rows_of(path)


def test_a_web_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a web page, not data"):
        rows_of(written(tmp_path, "<!DOCTYPE html><html>", name="lines.json.gz"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"none\.json: no such file"):
        rows_of(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": 3}', r"'id' is '3'; expected String"),
        ('{"stars": "5"}', r"'stars' is .*; expected Float64"),
        ('{"good": 1}', r"'good' is '1'; expected Boolean"),
        ('{"votes": [1, "2"]}', r"'votes' is .*; expected List\(Int64\)"),
        ('{"votes": [1.5]}', r"'votes' is .*; expected List\(Int64\)"),
        ('{"id": "a"} {"id": "b"}', r"not JSON \(Extra data"),
        ('{"id": "a"', "not JSON"),
        ("null", "expected an object"),
        ("[1, 2]", "expected an object"),
        ("id,stars", "not JSON"),
        ('{"id": "\\ud800"}', r"'id' is .*; expected String"),
        ("{'id': __import__('os').abort()}", "not JSON"),
    ],
)
@pytest.mark.parametrize("batch_bytes", [20, 1 << 20])
def test_a_bad_line_is_refused_by_number(tmp_path: Path, line: str, message: str, batch_bytes: int) -> None:
    path = written(tmp_path, '{"id": "ok"}', "", line, '{"id": "ok"}')
    with pytest.raises(DataError, match=rf"lines\.json, line 3: {message}"):
        rows_of(path, batch_bytes=batch_bytes)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"stars": NaN}', "'stars' is 'nan'; expected Float64"),
        ('{"stars": -Infinity}', "'stars' is '-inf'; expected Float64"),
        ('{"stars": 1e400}', "'stars' is 'inf'; expected Float64"),
        ('{"stars": +1}', "not JSON"),
        ('{"stars": 0x1}', "not JSON"),
        ('{"stars": 01}', "not JSON"),
        ('{"stars": 1_000}', "not JSON"),
        ('{"stars": "\uff11"}', "'stars' is .*; expected Float64"),
        ('{"votes": [99999999999999999999]}', r"'votes' is .*; expected List\(Int64\)"),
        ('{"id": "a", "id": "b"}', "the key 'id' occurs twice in one object"),
        ('{"stars": 1, "stars": 1}', "the key 'stars' occurs twice in one object"),
        ("{'id': 'a', 'id': 'b'}", "the key 'id' occurs twice in one object"),
        ("{'id': None, 'x': {'id': 'a', 'id': 'b'}}", "the key 'id' occurs twice in one object"),
    ],
)
def test_what_json_lacks_and_some_parsers_take_is_refused(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError, match=f"line 2: {message}"):
        rows_of(written(tmp_path, '{"id": "ok"}', line))


def test_a_key_that_nobody_reads_may_come_twice(tmp_path: Path) -> None:
    assert rows_of(written(tmp_path, '{"x": 1, "x": NaN, "id": "a"}', '{"y": "\\ud800", "y": 1, "id": "b"}')) == [
        ("a", None, None, None),
        ("b", None, None, None),
    ]


def test_values_that_are_not_allowed_are_refused_by_line_and_key(tmp_path: Path) -> None:
    path = written(tmp_path, '{"n": 3}', "", '{"n": 9}', '{"n": null}')
    with pytest.raises(
        DataError, match=r"lines\.json, line 3, key 'n': found 9; allowed is a whole number from 0 to 5"
    ):
        rows_of(path, {"n": whole(0, 5, missing=True)})
    assert rows_of(path, {"n": whole(0, 9, missing=True)}) == [(3,), (9,), (None,)]


def test_an_object_over_several_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 1: not JSON"):
        rows_of(written(tmp_path, '{"id": "a",', '"stars": 3}'))


def test_half_a_character_in_a_text_that_nobody_reads_does_no_harm(tmp_path: Path) -> None:
    path = written(tmp_path, '{"id":"a","text":"cut \\ud83d"}', '{"id":"b","stars":3,"n":NaN,"votes":[1],"good":false}')
    assert rows_of(path) == [("a", None, None, None), ("b", 3.0, False, [1])]


def test_structures_keep_their_fields(tmp_path: Path) -> None:
    types = {"related": pl.Struct({"bought": pl.List(pl.String)})}
    lines = (
        '{"related":{"bought":["x"],"viewed":["y"]}}',
        '{"related":{}}',
        '{"related":null}',
        '{"related":{"bought":[]}}',
    )
    found = pl.concat(read_json_lines(written(tmp_path, *lines), types))["related"].struct.field("bought").to_list()
    assert found == [["x"], None, None, []]


def test_the_first_type_that_fits_a_chunk_is_taken(tmp_path: Path) -> None:
    types = {"friends": (pl.String, pl.List(pl.String))}
    for values, dtype in ((["None", "a, b"], pl.String), ([[], ["a"]], pl.List(pl.String)), ([None, None], pl.String)):
        path = written(tmp_path, *(json.dumps({"friends": value}) for value in values))
        (frame,) = read_json_lines(path, types)
        assert (frame.schema["friends"], frame["friends"].to_list()) == (dtype, values)
    with pytest.raises(DataError, match=r"line 2: 'friends' is .*expected"):
        rows_of(written(tmp_path, '{"friends":["a"]}', '{"friends":"a"}'), types)
    with pytest.raises(DataError, match=r"line 2: 'friends' is '3'; expected"):
        rows_of(written(tmp_path, '{"friends":["a"]}', '{"friends":3}'), types)


# ---- Python's literals

ODD = [
    "it's",
    'say "hi"',
    """both ' and \"""",
    "back\\slash",
    "\\",
    "\\'",
    '\\"',
    "tab\tline\n",
    "caf\xe9",
    "\x00\x7f",
    "雪",
    "a: None, b",
    "{'x': 1}",
    "['",
    "",
    "\\\\",
]


@pytest.mark.parametrize("escaped", [False, True])
def test_literals_become_what_python_says(escaped: bool) -> None:
    draw = random.Random(0)
    objects = [
        {draw.choice(ODD): [draw.choice(ODD)], "n": -1.5e-7, "d": {"x": {}, draw.choice(ODD): 3}} for _ in range(2000)
    ]
    lines = [(ascii if escaped else repr)(plain) for plain in objects]
    made = literals_as_json(pl.Series(lines))
    assert made is not None
    assert [json.loads(line) for line in made] == [ast.literal_eval(line) for line in lines] == objects


@pytest.mark.parametrize(
    "line", ["{'a': None}", "{'a': True}", "{'a': (1,)}", "{'a': u'x'}", r"""{'a': "\""}""", "{'a': '\x01'}"]
)
def test_literals_that_are_not_simply_translated_say_so(line: str) -> None:
    assert literals_as_json(pl.Series(["{'a': 'x'}", line])) is None


def test_dictionaries_of_python_are_read(tmp_path: Path) -> None:
    objects = [
        {"asin": f"{i:010}", "title": ODD[i % len(ODD)], "price": 3.5, "categories": [["Books", "It's"]]}
        for i in range(300)
    ]
    types = {"asin": pl.String, "categories": pl.List(pl.List(pl.String))}
    wanted = [(plain["asin"], plain["categories"]) for plain in objects]
    assert rows_of(written(tmp_path, *map(repr, objects)), types, batch_bytes=1000) == wanted
    odd: list[dict[str, Any]] = [*objects, {"asin": "x", "price": None, "new": (True,)}]
    assert rows_of(written(tmp_path, *map(repr, odd)), types, batch_bytes=1000) == [*wanted, ("x", None)]


def test_literals_with_escapes_that_json_lacks(tmp_path: Path) -> None:
    path = written(tmp_path, r"{'asin': 'a\x07\a\U0001f600'}", r"{'asin': u'caf\xe9'}", "{'asin': 'b'}")
    assert [row[0] for row in rows_of(path, {"asin": pl.String})] == ["a\x07\x07\U0001f600", "café", "b"]
