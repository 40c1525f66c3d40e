"""The leaderboard as files (CSV, Parquet, Markdown) and on the screen."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
from rich.table import Table

from mtlzoo.callbacks.atomic import whole_file
from mtlzoo.compare.leaderboard.build import Leaderboard
from mtlzoo.compare.leaderboard.family import MEAN, SIGNIFICANT
from mtlzoo.compare.leaderboard.rows import COLUMNS, MAIN, Row
from mtlzoo.console import wide_console

_TEXTS = ("data", "name", "model", "rule", "task", "metric", "words")
_TRUTHS = ("higher_is_better", "best", "negative_transfer")
_COUNTS = ("seeds", "seeds_for_001")
LEGEND = """\
* A cell is the mean over the seeds with its 95 % interval over new seeds and new users (where a note below does not say
  otherwise). **Bold**: those that may be the best; the best is one of them with a chance of 95 %, column by column, and
  nothing is bold of a single seed.
  ▲ / ▼: shown to be better / worse than the baseline (▼ is negative transfer).
* Shown: p < .05 after Holm's adjustment for all comparisons of the table. What has no mark is *no difference shown*,
  which is not the same as no difference.
* Δm: `100 / T Σ_t ± (m_t - b_t) / |b_t|`, b the baseline, + where higher is better (Maninis et al., CVPR 2019).
* RelaImpr (in leaderboard.csv): `(AUC - .5) / (AUC_b - .5) - 1` (Yan et al., ICML 2014).
* Rank: the mean over seeds and tasks, 1 is best.
"""


def write(board: Leaderboard, folder: Path) -> None:
    """Writes ``leaderboard.csv``, ``.parquet`` and ``.md``.

    Args:
        board: What is written.
        folder: Exists.
    """
    frame = as_frame(board.rows)
    with whole_file(folder / "leaderboard.csv") as file:
        frame.write_csv(file)
    with whole_file(folder / "leaderboard.parquet") as file:
        frame.write_parquet(file)
    with whole_file(folder / "leaderboard.md", "w", encoding="utf-8") as file:
        file.write(as_markdown(board))


def as_frame(rows: Sequence[Row]) -> pl.DataFrame:
    """The rows with a type for every column, also where nothing is known."""
    types: dict[str, pl.DataType | type[pl.DataType]] = dict.fromkeys(COLUMNS, pl.Float64)
    types |= dict.fromkeys(_TEXTS, pl.String) | dict.fromkeys(_TRUTHS, pl.Boolean) | dict.fromkeys(_COUNTS, pl.Int64)
    return pl.DataFrame(list(rows), schema=types, orient="row")


def as_markdown(board: Leaderboard) -> str:
    """One table per data set and metric, contenders x tasks, then what is shown and what is not."""
    parts = ["# Leaderboard\n"]
    for data, metric, rows in _tables(board):
        header, lines = _cells(rows)
        parts.append(f"## {data}: {metric}\n")
        table = [header, ["---"] + ["---:"] * (len(header) - 1), *lines]
        parts.append("\n".join(f"| {' | '.join(_escaped(text) for text in line)} |" for line in table) + "\n")
        parts.append("\n".join(f"* {sentence}" for sentence in _sentences(rows)) + "\n")
    if board.frontier:
        parts.append("## Beyond static weights\n")
        parts.append("\n".join(f"* {verdict.data}: {verdict.words}." for verdict in board.frontier) + "\n")
    parts.append("## How to read this\n")
    parts.append(LEGEND + "\n".join(f"* {note}" for note in board.notes) + "\n")
    return "\n".join(parts)


def show(board: Leaderboard) -> None:
    """Prints the tables and what static weights reach."""
    console = wide_console()
    for data, metric, rows in _tables(board):
        header, lines = _cells(rows)
        table = Table(title=f"{data}: {metric}")
        for place, column in enumerate(header):
            table.add_column(column, justify="right" if place else "left")
        for line in lines:
            table.add_row(*(text.replace("**", "") if console.no_color else _bold(text) for text in line))
        console.print(table)
    for sentence in [verdict.words for verdict in board.frontier] + list(board.notes):
        console.print(sentence, markup=False, highlight=False)


def _tables(board: Leaderboard) -> Iterator[tuple[str, str, list[Row]]]:
    for data, metric in dict.fromkeys((row["data"], row["metric"]) for row in board.rows):
        yield data, metric, [row for row in board.rows if (row["data"], row["metric"]) == (data, metric)]


def _cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Header and lines of one table, the best average rank first."""
    means = {row["name"]: row for row in rows if row["task"] == MEAN}
    of_task = {(row["task"], row["name"]): row for row in rows}
    tasks = [task for task in dict.fromkeys(row["task"] for row in rows) if task != MEAN]
    shown = tasks if len(tasks) == 1 else [*tasks, MEAN]
    shown = [] if rows[0]["metric"] == MAIN else shown
    names = dict.fromkeys(row["name"] for row in rows)
    ranks = {name: mean["rank"] for name, mean in means.items() if mean["rank"] is not None}
    lines = [
        [name, *(_value(of_task.get((task, name))) for task in shown), _gain(means.get(name)), _rank(ranks.get(name))]
        for name in sorted(names, key=lambda name: ranks.get(name, float("inf")))
    ]
    return ["", *shown, "Δm %", "rank"], lines


def _value(row: Row | None) -> str:
    if row is None or row["value"] is None:
        return ""
    adjusted = row["p_holm"]
    mark = "" if adjusted is None or adjusted >= SIGNIFICANT else " ▼" if row["negative_transfer"] else " ▲"
    value = f"**{row['value']:.4f}**" if row["best"] else f"{row['value']:.4f}"
    return f"{value} ({row['low']:.4f} to {row['high']:.4f}){mark}" if row["low"] is not None else f"{value}{mark}"


def _gain(row: Row | None) -> str:
    if row is None or row["delta_m"] is None:
        return ""
    interval = "" if row["delta_m_low"] is None else f" ({row['delta_m_low']:+.2f} to {row['delta_m_high']:+.2f})"
    return f"{row['delta_m']:+.2f}{interval}"


def _rank(rank: float | None) -> str:
    return "" if rank is None else f"{rank:.2f}"


def _sentences(rows: Sequence[Row]) -> Iterator[str]:
    """What every contender's rows say, those without a difference together."""
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name and row["words"] is not None]
        told = [row for row in own if row["p_holm"] is None or row["p_holm"] < SIGNIFICANT]
        told = [row for row in told if not row["words"].startswith("the baseline")]
        for words in dict.fromkeys(row["words"] for row in told):
            yield f"{name} on {', '.join(row['task'] for row in told if row['words'] == words)}: {words}."
        if silent := [row for row in own if row["p_holm"] is not None and row["p_holm"] >= SIGNIFICANT]:
            needs = [str(row["seeds_for_001"] or "no number") for row in silent]
            tasks = ", ".join(f"{row['task']} ({need})" for row, need in zip(silent, needs, strict=True))
            yield f"{name}: no difference shown on {tasks}; in brackets the seeds that a difference of .001 would need."


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _bold(text: str) -> str:
    head, _, rest = text.removeprefix("**").partition("**")
    return f"[bold]{head}[/bold]{rest}" if text.startswith("**") else text
