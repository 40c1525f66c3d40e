"""Tables of comparisons in the docs are what the cells beside them say."""

import re
from pathlib import Path

import polars as pl
import pytest

REPOSITORY = Path(__file__).parents[1]
CELLS = {path.stem.removeprefix("compare_"): path for path in (REPOSITORY / "benchmarks/results").glob("compare_*.csv")}
PAGES = sorted((REPOSITORY / "docs").rglob("*.md"))


def published(name: str) -> list[str]:
    """What stands between the marks, once for all pages."""
    pattern = rf"<!-- compare: {name} -->\n(.*?)<!-- end: {name} -->"
    return [text for page in PAGES for text in re.findall(pattern, page.read_text(), flags=re.S)]


@pytest.mark.parametrize("name", sorted(CELLS) or [pytest.param("", marks=pytest.mark.skip(reason="none published"))])
def test_every_mean_is_that_of_its_cells(name: str) -> None:
    cells = pl.read_csv(CELLS[name], infer_schema_length=None)
    (text,) = published(name)
    seen = 0
    for data, metric, table in re.findall(r"\*\*(.+?)\*\*, (\S+):\n\n((?:\|.*\n)+)", text):
        header, _, *lines = [[each.strip() for each in line.strip("|\n").split(" | ")] for line in table.splitlines()]
        for line in lines:
            same = cells.filter((pl.col("data") == data) & (pl.col("name") == re.sub(r"\*\*|\\", "", line[0])))
            assert len(same) > 0, line
            for task, entry in zip(header[1:], line[1:], strict=True):
                column = f"test/{task}/{metric}"
                if column in same.columns:
                    value = float(re.findall(r"-?[\d.]+", entry)[0])
                    assert same[column].mean() == pytest.approx(value, abs=5.1e-5), (line[0], task)
                    seen += 1
    assert seen >= cells["name"].n_unique()
    assert set(cells["data"]) <= set(re.findall(r"\*\*(.+?)\*\*, \S+:", text))


def test_every_mark_has_its_cells() -> None:
    marks = {name for page in PAGES for name in re.findall(r"<!-- compare: (.+?) -->", page.read_text())}
    assert marks == set(CELLS)
