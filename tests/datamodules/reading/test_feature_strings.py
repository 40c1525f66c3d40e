import random
from collections.abc import Sequence

import polars as pl
import pytest

from mtlzoo.datamodules import DataError
from mtlzoo.datamodules.reading.feature_strings import FeatureStrings


def joined(*entries: tuple[str, int, float]) -> str:
    return "\x01".join(f"{field}\x02{number}\x03{value}" for field, number, value in entries)


def parsed(strings: Sequence[str | None], single: list[str], several: dict[str, int]) -> dict[str, list[object]]:
    counts = [(text or "").count("\x02") for text in strings]
    parser = FeatureStrings("x.csv", single, several)
    return parser.columns(
        pl.Series(strings, dtype=pl.String), pl.Series(counts), pl.Series(range(len(strings)))
    ).to_dict(as_series=False)


def test_a_column_per_field_in_any_order_of_entries() -> None:
    strings = [joined(("205", 7, 1.0), ("101", 3, 1.0)), joined(("101", 4, 1.0), ("999", 1, 1.0), ("205", 8, 0.5))]
    assert parsed(strings, ["101", "205"], {}) == {"101": [3, 4], "205": [7, 8]}


def test_missing_fields_are_null_and_empty() -> None:
    strings = [joined(("101", 3, 1.0)), None, joined(("210", 5, 1.0))]
    assert parsed(strings, ["101", "205"], {"210": 2}) == {
        "101": [3, None, None],
        "205": [None, None, None],
        "210": [[], [], [5]],
    }


def test_strings_without_any_entry() -> None:
    assert parsed([None, None], ["101"], {"210": 2}) == {"101": [None, None], "210": [[], []]}
    assert parsed([], ["101"], {"210": 2}) == {"101": [], "210": []}


def test_repeated_fields_keep_every_id_in_order_also_among_others() -> None:
    strings = [joined(("210", 9, 1.0), ("101", 3, 1.0), ("210", 2, 1.0), ("210", 9, 1.0)), joined(("210", 1, 1.0))]
    assert parsed(strings, ["101"], {"210": 5}) == {"101": [3, None], "210": [[9, 2, 9], [1]]}


def test_more_ids_than_are_kept_are_those_of_the_largest_values_in_order() -> None:
    few, many = joined(("h", 1, 0.1)), joined(("h", 1, 0.5), ("h", 2, 2.5), ("h", 3, 0.5), ("h", 4, 3.5), ("h", 5, 0.5))
    assert parsed([few, many, few], [], {"h": 3})["h"] == [[1], [1, 2, 4], [1]]


def test_a_field_whose_name_begins_another_is_another() -> None:
    strings = [joined(("109", 1, 1.0), ("109_14", 2, 0.6931), ("09_14", 3, 1.0))]
    assert parsed(strings, ["109"], {"109_14": 4}) == {"109": [1], "109_14": [[2]]}


def test_random_strings_as_plain_python_reads_them() -> None:
    draw = random.Random(0)
    fields = ["a", "b", "c", "c", "c", "unasked"]
    rows = []
    for _ in range(400):
        entries = [(field, draw.randrange(2**31), draw.randrange(4) / 2) for field in fields if draw.random() < 0.6]
        draw.shuffle(entries)
        rows.append(entries)
    found = parsed([joined(*entries) or None for entries in rows], ["a", "b"], {"c": 2})
    for at, entries in enumerate(rows):
        for field in ("a", "b"):
            assert found[field][at] == next((number for name, number, _ in entries if name == field), None)
        repeated = [(value, number) for name, number, value in entries if name == "c"]
        best = sorted(range(len(repeated)), key=lambda i: (-repeated[i][0], i))[:2]
        assert found["c"][at] == [repeated[i][1] for i in sorted(best)]


def test_says_which_fields_were_seen() -> None:
    parser = FeatureStrings("x.csv", ["101"], {})
    for text in (joined(("101", 3, 1.0)), joined(("205", 3, 1.0))):
        parser.columns(pl.Series([text]), pl.Series([1]), pl.Series([1]))
    assert parser.seen == {"101", "205"}


@pytest.mark.parametrize(
    ("text", "count", "message"),
    [
        ("101\x023\x031.0", 2, "1 features where 2 are announced"),
        ("101\x023\x031.0", None, "1 features where None are announced"),
        (None, 1, "0 features where 1 are announced"),
        ("101\x023", 1, r"is not FIELD.*Unpack"),
        ("101\x02\x031.0", 1, r"is not FIELD.*Unpack"),
        ("101\x02x\x031.0", 1, r"is not FIELD.*Unpack"),
        ("101\x023\x03", 1, r"is not FIELD.*Unpack"),
        ("101\x023\x031.0\x01102\x023\x031.0\x037", 2, r"is not FIELD.*Unpack"),
        ("101\x023000000000\x031.0", 1, r"is not FIELD.*Unpack"),
        *(
            (f"101\x02{number}\x031.0", 1, r"is not FIELD.*Unpack")
            for number in ("0x10", " 7", "7 ", "+7", "7.0", "7e0")
        ),
        *((f"101\x023\x03{value}", 1, r"is not FIELD.*Unpack") for value in ("+1", "0x1", " 1", "1_0", "x")),
        *((f"101\x023\x03{value}", 1, r"an id below 0 or no finite value") for value in ("nan", "inf", "-inf", "1e39")),
        ("101\x02-3\x031.0", 1, r"'101\\x02-3\\x031\.0' has an id below 0"),
        ("101\x023\x031.0\x01101\x024\x031.0", 2, "field 101 occurs more than once.*sequences="),
    ],
)
def test_refuses_what_is_no_feature_string_by_file_and_row(text: str | None, count: int | None, message: str) -> None:
    strings, counts = pl.Series([joined(("101", 1, 1.0)), text]), pl.Series([1, count])
    with pytest.raises(DataError, match=rf"^x\.csv, b: .*{message}"):
        FeatureStrings("x.csv", ["101"], {}).columns(strings, counts, pl.Series(["a", "b"]))


def test_names_the_entry_that_is_none() -> None:
    strings = pl.Series([joined(("1", 1, 1.0), ("2", 1, 1.0)), None, "3\x025\x031.0\x01\x014\x02five\x031.0"])
    with pytest.raises(DataError, match=r"x\.csv, c: '4\\x02five\\x031\.0' is not"):
        FeatureStrings("x.csv", ["1"], {}).columns(strings, pl.Series([2, 0, 2]), pl.Series(["a", "b", "c"]))
