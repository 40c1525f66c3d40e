"""Average ranks over all data sets and tasks, with Nemenyi's critical difference (Demsar, JMLR 2006)."""

from mtlzoo.compare.leaderboard import Leaderboard
from mtlzoo.compare.page.parts import Chart, Panel, Section, Spec
from mtlzoo.compare.page.vega import picture

MOST = 60
"""Contenders that are drawn."""
HEIGHT = 36
"""Of one, in pixels."""


def draw(board: Leaderboard) -> Panel | None:
    """A bar per contender, half a critical difference to both sides of its average rank; two that don't meet differ."""
    ranks = board.ranks
    if ranks is None:
        return None
    shown = list(zip(ranks.names, ranks.average, strict=True))[:MOST]
    half = ranks.critical / 2
    values = [
        {"name": name, "rank": rank, "low": rank - half, "high": rank + half, "best": place == 0}
        for place, (name, rank) in enumerate(shown)
    ]
    up: Spec = {"y": {"field": "name", "type": "nominal", "sort": None, "axis": None}}
    axis = {"title": "average rank; 1 is best"}
    across: Spec = {"type": "quantitative", "scale": {"zero": False}, "axis": axis}
    tooltip = [{"field": "name", "title": "contender"}, {"field": "rank", "title": "average rank", "format": ".2f"}]
    band: Spec = {
        "transform": [{"filter": "datum.best"}],
        "mark": {"type": "rect", "color": "var(--line)", "opacity": 0.5},
        "encoding": {"x": {"field": "low", **across}, "x2": {"field": "high"}},
    }
    bars: Spec = {
        "mark": {"type": "rule", "strokeWidth": 3, "color": "var(--c0)", "opacity": 0.6},
        "encoding": up | {"x": {"field": "low", **across}, "x2": {"field": "high"}},
    }
    dots: Spec = {
        "mark": {"type": "point", "filled": True, "size": 80, "color": "var(--c0)"},
        "encoding": up | {"x": {"field": "rank", **across}, "tooltip": tooltip},
    }
    names: Spec = {  # over their bars: beside them long ones would be cut
        "mark": {"type": "text", "align": "left", "dy": -11},
        "encoding": up | {"x": {"value": 0}, "text": {"field": "name"}},
    }
    spec = picture(values, band, bars, dots, names, height=HEIGHT * len(shown) + 50)
    says = f"Average ranks of {len(ranks.names)} contenders; the formulas and notes have the numbers."
    left = len(ranks.names) - len(shown)
    notes = [f"Over {ranks.blocks} data sets x tasks; the critical difference is {ranks.critical:.2f}."]
    notes += [f"Drawn are the {MOST} best; the notes have {left} more."] if left else []
    return Panel([Chart("Average rank", spec, says, wide=True)], notes=notes)


SECTION = Section(
    "ranks",
    "Over all data sets and tasks",
    "Ranks",
    "A bar reaches half of Nemenyi's critical difference to both sides: two contenders whose bars don't meet differ at "
    ".05, all pairs together. The grey band is the bar of the best. Whether there is any difference at all, Friedman's "
    "test says in the notes.",
    over_all=draw,
)
