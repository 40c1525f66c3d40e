"""Numbers spelt as Arrow reads them: which are read, and which are refused since nobody writes them."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.reading import read_csv


def table(folder: Path, text: str, **options: Any) -> pl.DataFrame:
    path = folder / "t.csv"
    path.write_text(text, encoding="utf-8")
    return pl.concat(list(read_csv(path, **options)))


ODD = ["0x1", "0XF", "+1", " 1", "1 ", "\t1", '" 1"', "1_000", "\uff11", "\u0663", "True", "--1", "- 1"]
"""Spellings that int(), float(), polars or Arrow take for numbers."""


@pytest.mark.parametrize("batch_bytes", [8, 1 << 20])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        *((pl.Int64, value) for value in [*ODD, "1e3", "1.0", "1.", "99999999999999999999"]),
        *((pl.Int8, value) for value in ["0x1", " 1", "300"]),
        *((pl.Float64, value) for value in [*ODD, "inf", "-Infinity", "nan", "NaN", "1e999", "1,5"]),
    ],
)
def test_numbers_that_nobody_writes(tmp_path: Path, dtype: Any, value: str, last: bool, batch_bytes: int) -> None:
    lines = [f"2;{value}" if last else f"{value};2", "3;3"]
    text = "\n".join(["a;b", "1;1", "", *lines])
    column = "b" if last else "a"
    with pytest.raises(DataError, match=f"t.csv, line 4, column '{column}': .*; expected"):
        table(tmp_path, text, columns={"a": dtype, "b": dtype}, separator=";", batch_bytes=batch_bytes)


@pytest.mark.parametrize("around", ["{}", " {}", "{} ", "\t {}"])
@pytest.mark.parametrize("value", ["+1", "0x1", "inf", "nan", "1_000"])
def test_blanks_that_are_stripped_hide_no_odd_number(tmp_path: Path, value: str, around: str) -> None:
    text = f"a,b\n1,1\n{around.format(value)},2\n"
    for dtype in (pl.Int64, pl.Float64):
        with pytest.raises(DataError, match=r"t\.csv, line 3, column 'a': .*; expected"):
            table(tmp_path, text, columns={"a": dtype}, strip=True)


def test_numbers_that_people_write(tmp_path: Path) -> None:
    texts = ["0", "-0", "007", "-7", "1.50", "1.", ".5", "1e-05", "1E3", "1e+3", "-1.5e2"]
    rows = (f"{text},0x1 +1 nan" for text in texts)
    frame = table(tmp_path, "\n".join(["a,b", *rows]), columns={"a": pl.Float64, "b": pl.String})
    assert frame["a"].to_list() == [float(text) for text in texts]
    assert set(frame["b"]) == {"0x1 +1 nan"}
    assert table(tmp_path, "a\n0\n-0\n007\n-7\n", columns={"a": pl.Int64})["a"].to_list() == [0, 0, 7, -7]
