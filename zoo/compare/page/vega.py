"""Pictures as Vega-Lite: what they have in common, and how one becomes a PNG."""

import json
import re
from collections.abc import Sequence
from typing import Any

import vl_convert

from mtlzoo.compare.page.look import COLOURS, Look
from mtlzoo.compare.page.parts import Spec

FONT = "system-ui, sans-serif"
HEIGHT = 220
"""Of a picture, in pixels."""
BAR = 26
"""Height of a line of a heat map or a bar chart."""
CONFIG: Spec = {
    "background": None,
    "font": FONT,
    "aria": False,  # the page says what a picture shows; a name for every mark would drown it
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--quiet)",
        "titleColor": "var(--quiet)",
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "titleFontWeight": "normal",
        "labelLimit": 150,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "tickCount": 5,
        "labelOverlap": True,
        "labelSeparation": 8,
    },
    "text": {"color": "var(--ink)", "fontSize": 12},
    "rule": {"color": "var(--quiet)"},
    "legend": {"labelColor": "var(--ink)", "labelFontSize": 12, "labelLimit": 300, "symbolSize": 100},
}
"""How every picture looks; colours are CSS variables, so that a page turns dark without drawing again."""


def picture(
    values: Sequence[dict[str, Any]], *layers: Spec, height: int = HEIGHT, params: Sequence[Spec] = (), **more: Any
) -> Spec:
    """Layers over the same values, as wide as there is room."""
    spec: Spec = {"data": {"values": [short(value) for value in values]}, "height": height, "layer": list(layers)}
    return (
        spec
        | {"width": "container", "autosize": {"type": "fit", "contains": "padding"}}
        | ({"params": list(params)} if params else {})
        | more
    )


def by_look(field: str, looks: dict[str, Look], what: str) -> Spec:
    """The channel of a contender's looks: ``color``, ``shape`` or ``strokeDash``.

    Args:
        field: That holds the contender's name.
        looks: By name.
        what: ``colour``, ``shape`` or ``dash``.
    """
    scale = {"domain": list(looks), "range": [getattr(look, what) for look in looks.values()]}
    return {"field": field, "type": "nominal", "scale": scale, "legend": None}


def lines(values: Sequence[dict[str, Any]], looks: dict[str, Look], x: Spec, y: Spec, *, band: bool = False) -> Spec:
    """A line per contender through ``value`` at ``x``; where asked for, a band from ``low`` to ``high``.

    Args:
        values: With ``name``, ``x``, ``value``, and ``low`` and ``high`` for a band.
        looks: By name.
        x: Type and titles of the axis across.
        y: The same of the axis upwards.
        band: Whether there is one.
    """
    colour = by_look("name", looks, "colour")
    across, up = {"field": "x", **x}, {"field": "value", "type": "quantitative", "scale": {"zero": False}, **y}
    encoding = {"x": across, "y": up, "color": colour}
    tooltip = [{"field": "name", "title": "contender"}, {"field": "x", "title": x.get("title")}]
    tooltip += [{"field": field, "format": ".4~g"} for field in ("value", "low", "high") if field in values[0]]
    dashes = {"strokeDash": by_look("name", looks, "dash")}
    path: Spec = {"mark": {"type": "line", "strokeWidth": 2}, "encoding": encoding | dashes}
    dots: Spec = {"mark": {"type": "point", "filled": True, "size": 45}, "encoding": encoding | {"tooltip": tooltip}}
    dots["encoding"]["shape"] = by_look("name", looks, "shape")
    area = {"x": across, "y": up | {"field": "low"}, "y2": {"field": "high"}, "color": colour}
    bands: list[Spec] = [{"mark": {"type": "area", "opacity": 0.15}, "encoding": area}] if band else []
    return picture(values, *bands, path, dots)


def heat(
    values: Sequence[dict[str, Any]], x: Spec, *, rows: int, title: str, limit: float = 1.0, text: bool = False
) -> Spec:
    """A heat map of ``value``: positive in one colour, negative in another, the more of it the further from 0.

    The colours lie over the paper, so that 0 is the paper's colour, be it light or dark.

    Args:
        values: With ``x`` (and ``x2`` where a column is a stretch), ``y`` and ``value``.
        x: Type and titles of the axis across.
        rows: How many there are.
        title: What the values are.
        limit: The value at which a colour is full.
        text: Whether the numbers stand in it.
    """
    across = {"x": {"field": "x", **x}} | ({"x2": {"field": "x2"}} if "x2" in values[0] else {})
    up = {"y": {"field": "y", "type": "nominal", "sort": None, "axis": {"title": None}}}
    colour = {"condition": {"test": "datum.value < 0", "value": "var(--c1)"}, "value": "var(--c0)"}
    strength = {"field": "strength", "type": "quantitative", "scale": {"domain": [0, 1], "range": [0.02, 0.95]}}
    tooltip = [{"field": "y", "title": "of"}, {"field": "x", "title": x.get("title")}]
    tooltip += [{"field": "value", "title": title, "format": ".3f"}]
    tooltip += [{"field": field, "format": ".3f"} for field in ("conflict rate", "entropy") if field in values[0]]
    cells: Spec = {
        "transform": [{"calculate": f"min(1, abs(datum.value) / {limit})", "as": "strength"}],
        "mark": {"type": "rect", "stroke": "var(--line)", "strokeWidth": 0.5},
        "encoding": across | up | {"color": colour, "opacity": strength | {"legend": None}, "tooltip": tooltip},
    }
    numbers = {"field": "value", "type": "quantitative", "format": ".2f"}
    layers = [cells] + [{"mark": "text", "encoding": across | up | {"text": numbers}}] * text
    return picture(values, *layers, height=BAR * rows + 50)


def png(spec: Spec, *, width: int = 600, dark: bool = False, scale: float = 2.0) -> bytes:
    """A picture as PNG, with its legend, for what shows no HTML.

    Args:
        spec: One of ours.
        width: In pixels, before `scale`.
        dark: For a dark page.
        scale: Pixels per pixel.
    """
    fixed = _with_legend(spec) | {"width": width, "config": CONFIG, "background": "var(--paper)"}
    coloured = re.sub(r"var\(--(\w+)\)", lambda name: COLOURS[name[1]][dark], json.dumps(fixed))
    return bytes(vl_convert.vegalite_to_png(coloured, scale=scale))


def _with_legend(spec: Any) -> Any:
    """A picture that says itself who is who; a page has its own legend, in HTML."""
    if isinstance(spec, list):
        return [_with_legend(inner) for inner in spec]
    if not isinstance(spec, dict):
        return spec
    found = {key: _with_legend(inner) for key, inner in spec.items()}
    return found | {"legend": {"title": None}} if spec.get("field") == "name" and "legend" in spec else found


def short(value: Any) -> Any:
    """A value with the numbers in it cut to six figures, which is more than a page shows."""
    if isinstance(value, dict):
        return {key: short(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [short(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
