"""What a page is made of: sections, each with a panel per data set of sentences, tables and pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from mtlzoo.compare.leaderboard import Leaderboard
from mtlzoo.compare.page.board import Board
from mtlzoo.compare.page.look import Look

Spec: TypeAlias = dict[str, Any]
"""A Vega-Lite picture, without its size."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Args:
        text: Its first line.
        value: What it is sorted by: a number, or a text; None comes last.
        more: Further lines, in small print.
        bold: Whether it is among the best.
        mood: ``good``, ``bad`` or nothing: colours the further lines but the first.
    """

    text: str
    value: float | str | None = None
    more: tuple[str, ...] = ()
    bold: bool = False
    mood: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        name: Its head.
        first: ``up`` or ``down``: the order that the first click brings.
    """

    name: str
    first: str = "up"


@dataclass(frozen=True)
class Table:
    """A table that can be sorted by any column; the first cell of a row is its head.

    Args:
        caption: What it holds.
        columns: One or more.
        rows: In the order that is shown first.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Chart:
    """A picture.

    Args:
        title: Stands above it.
        spec: How it is drawn.
        says: What it shows, for who can't see it.
        wide: Whether it takes the whole width.
    """

    title: str
    spec: Spec
    says: str
    wide: bool = False


@dataclass(frozen=True)
class Panel:
    """What a section says of one data set.

    Args:
        charts: Pictures, side by side where there is room.
        tables: By what a chooser calls them; without a chooser where there is one.
        notes: Sentences: what was found, and what was left out.
        legend: What the pictures' looks mean.
    """

    charts: Sequence[Chart] = ()
    tables: Mapping[str, Table] | None = None
    notes: Sequence[str] = ()
    legend: Mapping[str, Look] | None = None


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Args:
        id: Names it in links.
        title: Stands above it.
        short: Its name in the page's list of sections.
        how: How it is read.
        draw: What it says of a data set; None where nothing was measured.
        over_all: What it says of all data sets together.
    """

    id: str
    title: str
    short: str
    how: str
    draw: Callable[[Board], Panel | None] | None = None
    over_all: Callable[[Leaderboard], Panel | None] | None = None
