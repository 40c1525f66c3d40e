"""The page in Chromium: drawn, silent, usable by keyboard, and nothing cut or over something else at any width."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from compare import made_up
from compare.page.simple import page_of

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright, which drives the browser, is not installed")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on PATH (Debian: apt-get install chromium)")
DRAWN = "document.documentElement.dataset.drawn === 'yes'"
TROUBLE = Path(__file__).with_name("trouble.js").read_text()
"""What is cut, lies outside of the window, or over something else."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=BROWSER)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data sets, long names, a frontier, every monitor."""
    others = (
        made_up.Contender("SharedBottom", "PMTRecRule-level-row", gains=(0.2, 0.2)),
        *made_up.frontier(made_up.TASKS, 4),
    )
    folder = tmp_path_factory.mktemp("browser")
    return page_of(folder, (*made_up.CONTENDERS, *others), data=("Clicks", "Films"), seeds=2)[0]


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without monitors, so it is drawn quickly."""
    return page_of(tmp_path_factory.mktemp("short"), data=("Clicks", "Films"), seeds=2, monitors=False)[0]


@pytest.fixture
def tab(browser: Any, short: Path) -> Iterator[Any]:
    """A page, drawn, in a window of a notebook's width."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(short.as_uri())
    page.wait_for_function(DRAWN)
    yield page
    page.close()


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_nothing_is_cut_and_the_console_is_silent(browser: Any, path: Path, width: int) -> None:
    said: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if request.url != path.as_uri() else None)
    page.goto(path.as_uri())
    page.wait_for_function(DRAWN)
    sizes = page.eval_on_selector_all(
        ".chart", "all => all.map(one => one.querySelectorAll('svg').length * one.clientHeight)"
    )
    assert len(sizes) > 40
    assert min(sizes) > 60
    papers, inks = [], []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(TROUBLE) == []
        papers.append(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
        inks.append(page.evaluate("getComputedStyle(document.querySelector('.chart svg text')).fill"))
    assert papers == ["rgb(255, 255, 255)", "rgb(20, 23, 28)"]
    assert inks[0] != inks[1]
    assert said == []
    page.close()


def column(tab: Any, place: int) -> list[str]:
    texts: list[str] = tab.eval_on_selector_all(
        f"#headline-0-table1 tbody tr > :nth-child({place})", "all => all.map(one => one.firstChild.textContent)"
    )
    return texts


def test_a_click_sorts(tab: Any) -> None:
    head = tab.locator("#headline-0-table1 th[scope=col]").nth(4)
    head.locator("button").click()
    values = [float(text) for text in column(tab, 5)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 5
    assert head.get_attribute("aria-sort") == "descending"
    head.locator("button").click()
    assert [float(text) for text in column(tab, 5)] == sorted(values)
    assert head.get_attribute("aria-sort") == "ascending"


def test_the_keyboard_sorts(tab: Any) -> None:
    before = column(tab, 1)
    tab.locator("#headline-0-table1 th[scope=col] button").first.focus()
    outline = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    tab.keyboard.press("Enter")
    assert column(tab, 1) == sorted(before, key=str.lower)
    assert column(tab, 1) != before
    tab.keyboard.press("Space")
    assert column(tab, 1) == sorted(before, key=str.lower, reverse=True)
    assert outline == "solid"


def test_a_phone_moves_a_table_in_its_own_box(browser: Any, short: Path) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(short.as_uri())
    box = page.locator("#headline .box").first
    assert box.evaluate("one => one.scrollWidth > one.clientWidth")
    box.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('#headline .box').scrollLeft > 0")
    head = page.locator("#headline-0-table1 tbody th").first.bounding_box()
    assert head["x"] < 40  # the contender stays in sight
    page.close()


def test_lines_metrics_and_data_sets_are_chosen(tab: Any) -> None:
    tab.locator("#words .filter").first.fill("pcgrad")
    heads = tab.locator("#words-0-table1 tbody th")
    assert heads.count() == 20
    assert tab.locator("#words-0-table1 tbody th:visible").all_inner_texts() == 4 * ["MMoE + PCGrad"]
    tab.locator("#headline .choose").first.select_option("logloss")
    assert not tab.locator("#headline-0-table1").is_visible()
    assert tab.locator("#headline-0-table2").is_visible()
    tab.locator("#data").select_option("Films")
    assert tab.locator(".panel:visible").evaluate_all(
        "all => all.every(one => ['Films', ''].includes(one.dataset.set))"
    )


def test_the_trade_off_is_of_the_tasks_that_are_chosen(tab: Any) -> None:
    chart = tab.locator("#tradeoff .chart").first
    assert "gain on like" in chart.inner_text()
    chart.locator("select").nth(1).select_option(label="follow")
    tab.wait_for_function("document.querySelector('#tradeoff .chart svg').textContent.includes('gain on follow')")


def test_print_shows_all_of_a_table_and_no_controls(tab: Any) -> None:
    tab.emulate_media(media="print", color_scheme="dark")
    assert not tab.locator("nav").is_visible()
    assert tab.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    box = tab.locator("#words .box").first
    assert box.evaluate("one => one.scrollHeight <= one.clientHeight")
