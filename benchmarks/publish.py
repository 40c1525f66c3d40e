"""Puts the leaderboard of a comparison into a page of the docs, and what it is computed from beside the other results.

    python benchmarks/publish.py runs/census docs/results.md

The folder is one that `mtlzoo compare` wrote; its name is that of the result: results/compare_<name>.csv are its cells.
The page has two marks, ``<!-- compare: census -->`` and ``<!-- end: census -->``, each on a line of its own; what stood
between them is replaced. tests/test_published.py holds pages against cells.
"""

import argparse
import re
import shutil
from pathlib import Path

from report import RESULTS

from mtlzoo.metrics.direction import MAIN


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("comparison", type=Path, help="Folder that `mtlzoo compare` wrote.")
    parser.add_argument("page", type=Path, help="Page of the docs.")
    parser.add_argument("--metric", choices=MAIN, help="What a table shows; the first of these if not given.")
    options = parser.parse_args()
    name = options.comparison.resolve().name
    shutil.copyfile(options.comparison / "cells.csv", RESULTS / f"compare_{name}.csv")
    text = options.page.read_text()
    begin, end = f"<!-- compare: {name} -->\n", f"<!-- end: {name} -->\n"
    if begin not in text or end not in text:
        raise SystemExit(f"{options.page} has no marks {begin.strip()} and {end.strip()}.")
    before, rest = text.split(begin, 1)
    after = rest.split(end, 1)[1]
    options.page.write_text(
        f"{before}{begin}\n{shown((options.comparison / 'leaderboard.md').read_text(), options.metric)}\n{end}{after}"
    )


def shown(leaderboard: str, wanted: str | None = None) -> str:
    """The table of a metric, or of the first of `MAIN`, of every data set; leaderboard.md has all."""
    found: dict[str, str] = {}
    for section in re.split(r"^## ", leaderboard, flags=re.M)[1:]:
        title, _, body = section.partition("\n")
        data, _, metric = title.rpartition(": ")
        if metric in ((wanted,) if wanted else MAIN) and data not in found:
            table = [line for line in body.splitlines() if line.startswith("|")]
            found[data] = "\n".join([f"**{data}**, {metric}:", "", *table])
    return "\n\n".join(found.values()) + "\n"


if __name__ == "__main__":
    main()
