from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mtlzoo.datamodules import DataError
from mtlzoo.datamodules.reading import read_csv
from mtlzoo.datamodules.values.domains import Domain, day, flag, number, one_of, text, whole

MAY = day(date(2022, 2, 27), date(2022, 3, 2))


@pytest.mark.parametrize(
    ("domain", "good", "bad"),
    [
        (whole(), {"0": 0, "7": 7, "9223372036854775807": 2**63 - 1}, ["-1", "1.5", "1.0", "", "x", "nan", "inf"]),
        (whole(2, 4, unknown=[-124], missing=True), {"2": 2, "4": 4, "-124": -124, "": None}, ["1", "5", "-1", "3.0"]),
        (
            whole(points=True),
            {"3": 3, "3.0": 3, "9007199254740991": 2**53 - 1},
            ["1.5", "-1.0", "nan", "1e300", "inf", "", "9007199254740993"],
        ),
        (flag(), {"0": 0, "1": 1}, ["2", "-1", "", "true", "0.5"]),
        (flag(missing=True, points=True), {"0.0": 0, "1": 1, "": None}, ["2.0", "-1", "0.5", "nan"]),
        (
            MAY,
            {"20220228": 20220228, "20220301": 20220301},
            ["20220229", "20220226", "20220303", "0", ""],
        ),
        (number(), {"1.5": 1.5, "-2e-3": -0.002}, ["nan", "inf", "-inf", "1e39", "", "x"]),
        (number(0, 1, missing=True), {"0": 0.0, "1": 1.0, "": None}, ["-0.1", "1.1", "nan"]),
        (text(), {"a": "a", " ": " "}, [""]),
        (text("[0-9]+", missing=True), {"12": "12", "": None}, ["12a", "a12", "\u0661"]),
        (one_of(["Yes", "No"]), {"Yes": "Yes", "No": "No"}, ["yes", "NO", "", "Maybe"]),
    ],
    ids=lambda value: value.allowed if isinstance(value, Domain) else "",
)
def test_values_and_what_is_none(tmp_path: Path, domain: Domain, good: dict[str, Any], bad: list[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + "".join(f"{value},0\n" for value in good))
    read = pl.concat(read_csv(path, columns={"x": domain}))["x"]
    assert read.to_list() == list(good.values())
    assert read.dtype == (domain.dtype or domain.read)
    for value in bad:
        lines = ["x,y", *(f"{value},0" for value in good), "", f"{value},0", f"{next(iter(good))},0"]
        path.write_text("\n".join(lines))
        with pytest.raises(DataError, match=rf"t\.csv, line {len(good) + 3}, column 'x'"):
            list(read_csv(path, columns={"x": domain}))


def test_a_refusal_says_what_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x\n1\n-5\n")
    message = r"t\.csv, line 3, column 'x': found -5; allowed is a whole number from 0 on\. Repair"
    with pytest.raises(DataError, match=message):
        list(read_csv(tmp_path / "t.csv", columns={"x": whole()}))


def test_the_line_is_that_of_the_file_in_any_block(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x\n" + "1\n" * 5000 + "2\n" + "1\n" * 5000)
    with pytest.raises(DataError, match=r"line 5002, column 'x': found 2; allowed is 0 or 1"):
        list(read_csv(tmp_path / "t.csv", columns={"x": flag()}, batch_bytes=100))


def test_values_are_judged_without_the_blanks_around_them(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Yes, 1\nNo , 0\n")
    (rows,) = read_csv(
        tmp_path / "t.csv", columns={"a": one_of(["Yes", "No"]), "b": flag()}, header=["a", "b"], strip=True
    )
    assert rows.rows() == [("Yes", 1), ("No", 0)]
