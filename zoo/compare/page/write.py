"""`write_page`: a comparison as one HTML file that needs nothing but a browser."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mtlzoo.callbacks.atomic import whole_file
from mtlzoo.compare.leaderboard import Leaderboard
from mtlzoo.compare.page.board import Board, boards
from mtlzoo.compare.page.look import COLOURS
from mtlzoo.compare.page.parts import Panel, Section
from mtlzoo.compare.page.sections import (
    calibration,
    cold_start,
    comparable,
    conflicts,
    cost,
    curves,
    embeddings,
    gates,
    headline,
    ranks,
    tradeoff,
    words,
)
from mtlzoo.compare.page.vega import CONFIG, short
from mtlzoo.compare.results import Result

PACKAGE = "mtlzoo.compare.page"
SECTIONS: tuple[Section, ...] = (
    headline.SECTION,
    tradeoff.SECTION,
    ranks.SECTION,
    words.SECTION,
    curves.SECTION,
    conflicts.SECTION,
    gates.SECTION,
    embeddings.SECTION,
    cost.SECTION,
    calibration.SECTION,
    cold_start.SECTION,
    comparable.SECTION,
)


def write_page(
    path: Path,
    board: Leaderboard,
    results: Sequence[Result],
    *,
    asked: str = "",
    notes: Sequence[str] = (),
    title: str = "Comparison",
) -> None:
    """Writes the page.

    Args:
        path: The HTML file; its folder is that of the comparison.
        board: The leaderboard.
        results: The finished cells behind them.
        asked: The file that was compared, as it was written.
        notes: Sentences on what is not there, such as cells that failed.
        title: Of the page.
    """
    drawn = boards(board, results, path.parent)
    sections = [(section, _panels(section, board, drawn)) for section in SECTIONS]
    specs: dict[str, Any] = {}
    page = _environment(specs).get_template("page.html")
    text = page.render(
        title=title,
        boards=drawn,
        sections=[(section, panels) for section, panels in sections if panels],
        facts=facts(results),
        asked=asked,
        notes=notes,
        remarks=board.notes,
        colours=COLOURS,
        css=_file("page.css"),
        script=_file("page.js"),
        vega=_vega(),
        specs=specs,
        config=CONFIG,
    )
    with whole_file(path, "w", encoding="utf-8") as file:
        file.write(text)


def facts(results: Sequence[Result]) -> list[tuple[str, str]]:
    """What was run: names and values."""
    versions: dict[str, list[str]] = {}
    for result in results:
        for name, version in result.record["versions"].items():
            if version not in versions.setdefault(name, []):
                versions[name].append(version)
    found = [("Cells", f"{len(results):,}"), ("Seeds", _span([result.seed for result in results]))]
    found += [("Versions", ", ".join(f"{name} {' and '.join(every)}" for name, every in versions.items()))]
    prints = dict.fromkeys(str(result.record["data_fingerprint"]) for result in results)
    found += [("Data", ", ".join(prints)), ("Devices", ", ".join(dict.fromkeys(r.record["device"] for r in results)))]
    return [*found, ("Written", datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"))]


def _span(seeds: Sequence[int]) -> str:
    every = sorted(set(seeds))
    whole = len(every) > 2 and every == list(range(every[0], every[-1] + 1))
    return f"{every[0]} to {every[-1]}" if whole else ", ".join(map(str, every))


def _panels(section: Section, board: Leaderboard, drawn: Sequence[Board]) -> list[tuple[str, Panel]]:
    """Panels by name of their data set; one of all data sets has none."""
    found = [("", section.over_all(board))] if section.over_all else []
    found += [(one.data, section.draw(one)) for one in drawn] if section.draw else []
    return [(data, panel) for data, panel in found if panel is not None]


def _environment(specs: dict[str, Any]) -> Environment:
    def drawn_later(place: str, spec: Any) -> str:
        """Keeps a picture for the script; says where it is drawn."""
        specs[place] = spec
        return place

    environment = Environment(
        loader=PackageLoader(PACKAGE, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"as_json": _json, "short": short}
    environment.globals["drawn_later"] = drawn_later
    return environment


def _json(value: Any) -> Markup:
    """JSON that ends no script element."""
    return Markup(json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


@cache
def _vega() -> Markup:
    """Vega, Vega-Lite and what draws them into a page: it takes seconds to bundle, and is always the same."""
    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    assert "</script" not in script
    return Markup(script)


def _file(name: str) -> Markup:
    """A file of this package, as it stands."""
    return Markup((files(PACKAGE) / name).read_text(encoding="utf-8"))
