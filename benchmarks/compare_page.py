"""Leaderboard and page of 1,000 made-up cells: seconds of the clock and of processors, megabytes, a browser's seconds.

    python benchmarks/compare_page.py

Writes results/compare_page.json. Two shapes of 1,000 cells: 4 data sets x 50 contenders x 5 seeds of 3 tasks, with
everything that monitors write, and 200 contenders x 5 seeds of 8 tasks. Playwright and a chromium are needed for the
browser's part, which is null without them.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from report import show, write

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "zoo"))

from compare import made_up

from mtlzoo.compare.leaderboard import leaderboard
from mtlzoo.compare.leaderboard.build import enough_draws
from mtlzoo.compare.leaderboard.tables import write as write_leaderboard
from mtlzoo.compare.page import write_page

DRAWN = "document.documentElement.dataset.drawn === 'yes'"
SORT = "document.querySelectorAll('#headline th[scope=col] button')[3].click(); document.body.offsetHeight"


def measure(folder: Path, contenders: int, data: Sequence[str], tasks: int, rows: int) -> dict[str, Any]:
    """Seconds of the parts, and the size of the page."""
    names = tuple(f"task_{task}" for task in range(tasks))
    line = made_up.frontier(names, 9)
    every = (*made_up.CONTENDERS, *line, *made_up.many(contenders - len(line) - len(made_up.CONTENDERS) + 1)[1:])
    results = made_up.write_cells(folder, every, data=data, tasks=names, seeds=5, rows=rows, users=rows // 10)
    start, busy = time.perf_counter(), time.process_time()
    board = leaderboard(results, "SingleTask")
    write_leaderboard(board, folder)
    told = time.perf_counter()
    write_page(folder / "compare.html", board, results, title="1,000 cells")
    end, busy = time.perf_counter(), time.process_time() - busy
    size = (folder / "compare.html").stat().st_size / 1e6
    shape = {"cells": len(results), "contenders": len(every), "data": len(data), "tasks": tasks, "rows": rows}
    seconds = {"leaderboard_seconds": told - start, "page_seconds": end - told, "processor_seconds": busy}
    return shape | {"draws": enough_draws(results)} | seconds | {"page_mb": size} | in_browser(folder / "compare.html")


def in_browser(page: Path) -> dict[str, Any]:
    """Seconds until a page can be used, until all is drawn, and of sorting the table."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return {"usable_seconds": None, "drawn_seconds": None, "sort_seconds": None}
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        tab = driver.chromium.launch(executable_path=chromium).new_page(viewport={"width": 1440, "height": 900})
        start = time.perf_counter()
        tab.goto(page.as_uri())
        usable = time.perf_counter()
        tab.wait_for_function(DRAWN, timeout=120_000)
        drawn = time.perf_counter()
        tab.evaluate(SORT)
        end = time.perf_counter()
    return {"usable_seconds": usable - start, "drawn_seconds": drawn - start, "sort_seconds": end - drawn}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000, help="Rows of test of every cell.")
    options = parser.parse_args()
    found = []
    for contenders, data, tasks in ((50, "ABCD", 3), (200, "A", 8)):
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(Path(folder), contenders, data, tasks, options.rows))
    show("1,000 made-up cells", found)
    write("compare_page", vars(options), found)


if __name__ == "__main__":
    main()
