"""Several items in one cell: one meaning in text and in lists, in CSV, Parquet and frames, or a refusal."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from mtlzoo.datamodules import DataError, TabularDataModule
from mtlzoo.datamodules.values.joined import split_items

NAN = float("nan")


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("a,b", "a b"),
        (" a , b ", "a b"),
        ("a,,b,", "a b"),
        (",a, ,", "a"),
        ("a", "a"),
        ("[]", ""),
        ("( )", ""),
        ("[1, 2, 3]", "1 2 3"),
        ("[1,2,3]", "1 2 3"),
        ("[1 2 3]", "1 2 3"),
        ("[ 1  2\n  3]", "1 2 3"),
        ("[1. 2.5]", "1 2.5"),
        ("[1.0, nan, 2.0]", "1.0 2.0"),
        ("[1, None, 2]", "1 2"),
        ("[1, null, <NA>, NaN]", "1"),
        ("[-1, 007]", "-1 007"),
        ("(1, 2)", "1 2"),
        ("(1,)", "1"),
        ("('a', 'b')", "a b"),
        ("{1, 2}", "1 2"),
        ("['a', 'b']", "a b"),
        ('["a", "b"]', "a b"),
        ("['a' 'b']", "a b"),
        ("['a', '', ' ', None]", "a"),
        ("['None', 'nan']", "None nan"),
        ("[1, 'a']", "1 a"),
        ("'a','b'", "a b"),
        ('"a", "b"', "a b"),
        ("(no)", "(no)"),
        ("set()", ""),
        ("'90s,rock", "'90s rock"),
        ("a],b", "a] b"),
        (r'["\u5317", "\"", "\\", "\/"]', '北 " \\ /'),
        (r"['\'', '\x61', 'é']", "' a é"),
    ],
)
def test_one_list_however_it_is_written(text: str, items: str) -> None:
    for beside in ("a,b", "[3]", "['x']", r"['\'']"):
        assert split_items(pl.Series([beside, text]), ",").to_list()[1] == items.split()


def test_items_keep_the_separators_that_they_hold() -> None:
    texts = pl.Series(["['a, b', \"it's\"]", "a, b|it's", "'a|b'|'c'"])
    assert split_items(texts, "|").to_list() == [["a, b", "it's"], ["a, b", "it's"], ["a|b", "c"]]


@pytest.mark.parametrize("separator", [",", "|", " ", "::", ".", "[", "'"])
def test_few_texts_are_what_they_are_among_many(separator: str) -> None:
    random = np.random.default_rng(0)
    parts = ["a", "7", "None", separator, separator, " ", "\t", "\x1c", "\u3000", "é", "[", "]", "'", '"', "(", "}"]
    texts = [
        "".join(random.choice(parts, random.integers(8), p=[0.1] * 5 + [0.05] * 9 + [0.025] * 2)) for _ in range(400)
    ]
    among = split_items(pl.Series(texts), separator).to_list()
    assert [split_items(pl.Series([text]), separator).to_list()[0] for text in texts] == among


NO_LISTS = [
    *(
        "[1, 2",
        "[[1], [2]]",
        "['a'",
        "[a, b]",
        "{a,b}",
        '{"a": 1}',
        "array([1, 2])",
        "frozenset({1})",
        "frozenset()",
        "[,]",
        "[1,,2]",
    ),
    *("[1 2 ... 3]", "[True]", "[0x1]", "[1e5]", "[+1]", "[1_000]", "[Deluxe] x", r"['\ud800']", "[1;2]", "[1 2, 3]"),
]


@pytest.mark.parametrize("wrong", NO_LISTS)
@pytest.mark.parametrize("kind", ["sequence", "multilabel"])
def test_what_begins_as_a_list_is_one_or_refused(wrong: str, kind: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({"h": ["1,2", None, wrong], "y": [0, 1, 0]})
    described: dict[str, Any] = {"features": {"y": "numeric"}, "labels": {"h": {"kind": "multilabel", "classes": 3}}}
    if kind == "sequence":
        described = {"features": {"h": "sequence"}, "labels": {"y": "binary"}}
    frame.write_csv(tmp_path / "a.csv", separator="\t")
    for data in (
        TabularDataModule.from_frame(frame, frame, **described),
        TabularDataModule(tmp_path, train="a.csv", val="a.csv", separator="\t", **described),
    ):
        with pytest.raises(DataError, match=r"Column 'h', row 3: found .*; allowed is names joined"):
            data.prepare_data()


LISTS = [[3, 1, 2], [1], [], None, [2, 1]]
WRITTEN = {
    "joined": ["3,1,2", "1", ",", None, "2,1"],
    "python": ["[3, 1, 2]", "[1]", "[]", None, "[2, 1]"],
    "numpy": ["[3 1 2]", "[1]", "[]", None, "[2 1]"],
    "quoted": ["['3', '1', '2']", "['1']", "[]", None, "['2', '1']"],
    "json": ['["3", "1", "2"]', '["1"]', "[]", None, '["2", "1"]'],
    "with gaps": ["3,,1,2", "1,", ",", "", "2, ,1"],
    "with missing": ["[3, None, 1, nan, 2]", "[1, None]", "[nan]", " ", "[2, 1, null]"],
    "integers": LISTS,
    "gaps": [[3, None, 1, 2], [1, None], [None], None, [None, 2, 1]],
    "floats": [[3.0, NAN, 1.0, 2.0], [1.0, NAN], [NAN], None, [2.0, None, 1.0]],
    "texts": [["3", "", "1", "2"], ["1", " "], [""], None, ["2", None, "1"]],
}


@pytest.mark.parametrize("suffix", [".csv", ".parquet", "frame", "pandas"])
@pytest.mark.parametrize("name", WRITTEN)
def test_the_same_sequence_and_classes_of_every_file(name: str, suffix: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({"h": WRITTEN[name], "c": WRITTEN[name], "y": [0, 1, 0, 1, 0]}, strict=False)
    described: dict[str, Any] = {
        "features": {"h": {"kind": "sequence", "max_length": 2, "keep": "last"}},
        "labels": {"y": "binary", "c": {"kind": "multilabel", "classes": 4}},
    }
    if suffix == ".csv":
        if frame["h"].dtype.is_nested():
            pytest.skip("a CSV holds no lists")
        frame.write_csv(tmp_path / "a.csv")
        data = TabularDataModule(tmp_path, train="a.csv", val="a.csv", **described)
    elif suffix == ".parquet":
        frame.write_parquet(tmp_path / "a.parquet")
        data = TabularDataModule(tmp_path, train="a.parquet", val="a.parquet", **described)
    else:
        given: Any = frame.to_pandas() if suffix == "pandas" else frame
        data = TabularDataModule.from_frame(given, given, **described)
    train = data.data["train"]
    ids = {1: 2, 2: 3, 3: 4}
    expected = [[ids[item] for item in (items or [])[-2:]] for items in LISTS]
    assert train["h"].tolist() == [[*items, 0, 0][:2] for items in expected]
    classes = torch.full((5, 4), NAN)
    for row, items in enumerate(LISTS):
        if items is not None:
            classes[row] = torch.tensor([float(number in items) for number in range(4)])
    torch.testing.assert_close(train["labels"][:, 1:], classes, equal_nan=True)


def test_what_pandas_writes_shares_the_table_of_items(tmp_path: Path) -> None:
    frame = pd.DataFrame({"item": [1, 2, 3], "history": [[1, 2, 3], np.array([2]), [3, 1]], "y": [1, 0, 1]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    features: dict[str, Any] = {
        "item": "categorical",
        "history": {"kind": "sequence", "max_length": 3, "table": "item"},
    }
    data = TabularDataModule(tmp_path, train="a.csv", val="a.csv", features=features, labels={"y": "binary"})
    assert data.schema.tables == {"item": 5}
    items = data.data["train"]["categorical"].flatten().tolist()
    one, two, three = items
    assert data.data["train"]["history"].tolist() == [[one, two, three], [two, 0, 0], [three, one, 0]]


@pytest.mark.parametrize("items", [[[[1], [2]]], [[{"a": 1}]], [1], [1.5], [True]])
def test_what_is_no_list_of_names(items: list[Any]) -> None:
    frame = pl.DataFrame({"h": items, "y": [0] * len(items)})
    data = TabularDataModule.from_frame(frame, frame, features={"h": "sequence"}, labels={"y": "binary"})
    with pytest.raises(DataError, match=r"Column 'h' holds .*; allowed are lists"):
        data.prepare_data()
