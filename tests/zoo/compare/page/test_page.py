"""The page as a file: whole, small, and in need of nothing."""

import json
import re
import warnings
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import vl_convert
from compare import made_up
from compare.page.simple import page_of, rows_of

from mtlzoo.compare.leaderboard import Leaderboard
from mtlzoo.compare.page import boards, png, tradeoff, write_page
from mtlzoo.compare.page.write import SECTIONS

LOADS = {"src", "href", "srcset", "data", "poster", "action"}
EMPTY = {"meta", "link", "input", "br", "path"}


class Reader(HTMLParser):
    """What is in a page: its elements in order, and the texts of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.scripts: dict[str | None, str] = {}
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[self.elements[-1][1].get("id")] = data
        elif self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reader]:
    contenders = (*made_up.CONTENDERS, *made_up.frontier(made_up.TASKS, 4))
    path, _ = page_of(tmp_path_factory.mktemp("page"), contenders, data=("Clicks", "Films"))
    return path, Reader(path.read_text())


def test_elements_end_where_they_should(page: tuple[Path, Reader]) -> None:
    assert not page[1].wrong
    assert not page[1].open


def test_nothing_is_loaded(page: tuple[Path, Reader]) -> None:
    path, reader = page
    loaded = [value for _, attributes in reader.elements for name, value in attributes.items() if name in LOADS]
    assert [value for value in loaded if not str(value).startswith(("#", "data:,"))] == []
    assert not re.search(r"@import|url\(", path.read_text().split("</style>")[0])
    assert path.stat().st_size < 6e6


def test_every_name_is_given_once_and_every_link_leads_somewhere(page: tuple[Path, Reader]) -> None:
    names = [attributes["id"] for _, attributes in page[1].elements if "id" in attributes]
    assert [name for name, times in Counter(names).items() if times > 1] == []
    links = [str(attributes["href"])[1:] for tag, attributes in page[1].elements if tag == "a"]
    assert len(links) > 8
    assert set(links) <= set(names)


def test_every_section_is_there_but_what_nobody_measured(page: tuple[Path, Reader]) -> None:
    sections = [str(attributes["id"]) for tag, attributes in page[1].elements if tag == "section"]
    assert sections == [section.id for section in SECTIONS if section.id != "comparable"] + ["formulas"]


def test_every_picture_compiles(page: tuple[Path, Reader]) -> None:
    specs: dict[str, Any] = json.loads(page[1].scripts["specs"])
    config = json.loads(page[1].scripts["config"])
    places = {attributes.get("id") for _, attributes in page[1].elements}
    assert set(specs) <= places
    assert len(specs) > 30
    for spec in specs.values():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert vl_convert.vegalite_to_vega(spec, config=config)["marks"]


def test_the_head_says_what_was_run(page: tuple[Path, Reader]) -> None:
    for text in (
        "54",
        "0 to 2",
        "torch 2.13.0+cpu",
        "One cell failed.",
        "data: Clicks",
        "The tests of AUC are one family.",
    ):
        assert text in page[1].text


def test_names_are_texts(tmp_path: Path) -> None:
    """Whoever names a model after an element gets its name, not the element."""
    evil = made_up.Contender("</script><script>alert(1)</script>", gains=(0.2,))
    results = made_up.write_cells(tmp_path, (made_up.Contender("SingleTask"),), seeds=2)
    rows = [{**row, "name": evil.model} if row["difference"] is None else row for row in rows_of(results)]
    write_page(tmp_path / "page.html", Leaderboard(rows, [], []), [], notes=[evil.model])
    reader = Reader((tmp_path / "page.html").read_text())
    assert not reader.wrong
    assert evil.model in reader.text
    assert len(reader.scripts) == 3


def test_without_a_monitor_its_section_is_missing(tmp_path: Path) -> None:
    path, _ = page_of(tmp_path, monitors=False, seeds=2)
    sections = [str(attributes["id"]) for tag, attributes in Reader(path.read_text()).elements if tag == "section"]
    assert sections == ["headline", "tradeoff", "words", "curves", "cost", "calibration", "formulas"]


def test_a_picture_for_what_shows_no_html(tmp_path: Path) -> None:
    results = made_up.write_cells(tmp_path, seeds=2, monitors=False)
    board = boards(Leaderboard(rows_of(results), [], []), results, tmp_path)[0]
    chart = tradeoff(board)
    assert chart is not None
    light, dark = png(chart.spec), png(chart.spec, dark=True)
    assert light.startswith(b"\x89PNG")
    assert dark.startswith(b"\x89PNG")
    assert light != dark
