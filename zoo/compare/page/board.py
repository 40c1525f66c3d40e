"""`Board`: what is known of one data set: its rows of the leaderboard, and the finished cells behind them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mtlzoo.compare.leaderboard import Leaderboard
from mtlzoo.compare.leaderboard.comparable import by_data
from mtlzoo.compare.leaderboard.family import MEAN
from mtlzoo.compare.leaderboard.rows import MAIN as SEVERAL
from mtlzoo.compare.leaderboard.rows import Row
from mtlzoo.compare.page.look import Look, looks
from mtlzoo.compare.results import Result
from mtlzoo.metrics.direction import MAIN

DRAWN = 10
"""Contenders that a picture of lines shows at most."""


@dataclass(frozen=True)
class Board:
    """What is known of one data set.

    Args:
        data: Its name.
        rows: Its rows of the leaderboard.
        results: Its cells.
        folder: Of the comparison.
        verdicts: Sentences on who leaves the scalarisation frontier.
    """

    data: str
    rows: Sequence[Row]
    results: Sequence[Result]
    folder: Path
    verdicts: Sequence[str] = ()

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """In the order of the leaderboard."""
        return tuple(dict.fromkeys(row["task"] for row in self.rows if row["task"] != MEAN))

    @cached_property
    def main(self) -> dict[str, str]:
        """Metric of every task that it is judged by, of their mean too: `SEVERAL` where the tasks' differ."""
        found = {}
        for task in (*self.tasks, MEAN):
            metrics = list(dict.fromkeys(row["metric"] for row in self.rows if row["task"] == task))
            if metrics:
                found[task] = next((metric for metric in (SEVERAL, *MAIN) if metric in metrics), metrics[0])
        return found

    @cached_property
    def by_name(self) -> dict[str, dict[tuple[str, str], Row]]:
        """Rows by contender, then by task and metric; contenders by their average rank, best first."""
        found: dict[str, dict[tuple[str, str], Row]] = {}
        for row in self.rows:
            found.setdefault(row["name"], {})[row["task"], row["metric"]] = row
        overall = {name: rows.get((MEAN, self.main.get(MEAN, ""))) for name, rows in found.items()}
        ranks = {name: None if row is None else row["rank"] for name, row in overall.items()}
        return {name: found[name] for name in sorted(found, key=lambda name: ranks[name] or float("inf"))}

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """All metrics, in the order of the leaderboard."""
        return tuple(dict.fromkeys(row["metric"] for row in self.rows if row["metric"] != SEVERAL))

    @cached_property
    def cells(self) -> dict[str, list[Result]]:
        """Finished cells by contender, in the order of `by_name`."""
        found: dict[str, list[Result]] = {name: [] for name in self.by_name}
        for result in self.results:
            found.setdefault(result.name, []).append(result)
        return found

    @cached_property
    def baseline(self) -> str | None:
        """The contender that the others are compared with: the one without a difference."""
        for name, rows in self.by_name.items():
            if all(row["difference"] is None for row in rows.values()):
                return name
        return None

    @cached_property
    def frontier(self) -> tuple[str, ...]:
        """Contenders that are points of the scalarisation frontier."""
        return tuple(name for name, cells in self.cells.items() if cells and cells[0].weights)

    @cached_property
    def drawn(self) -> tuple[str, ...]:
        """Contenders that pictures show: the best by rank, the baseline among them."""
        names = [name for name in self.by_name if name not in self.frontier]
        best = names[:DRAWN]
        if self.baseline in names and self.baseline not in best:
            best[-1] = str(self.baseline)
        return tuple(best)

    @cached_property
    def looks(self) -> dict[str, Look]:
        """Of `drawn`, in every picture; in the order of the leaderboard, which is that of other data sets, too."""
        kinds = {row["name"]: (str(row["model"]), str(row["rule"])) for row in self.rows}
        return looks([(name, *kind) for name, kind in kinds.items() if name in self.drawn])

    def left_out(self) -> list[str]:
        """The sentence that says which contenders pictures leave out, where they do."""
        others = len(self.by_name) - len(self.frontier) - len(self.drawn)
        return [
            f"Drawn are the {len(self.drawn)} best by rank and the baseline; {others} more are in the table."
        ] * bool(others)

    def row(self, name: str, task: str) -> Row | None:
        """Of a contender and a task, by the metric that the task is judged by."""
        return self.by_name[name].get((task, self.main[task]))


def boards(board: Leaderboard, results: Sequence[Result], folder: Path) -> list[Board]:
    """A board per data set, in the order of the rows."""
    rows: dict[str, list[Row]] = {}
    for row in board.rows:
        rows.setdefault(row["data"], []).append(row)
    cells = by_data(results, apart=True)
    said = {data: [verdict.words for verdict in board.frontier if verdict.data == data] for data in rows}
    return [Board(data, own, cells.get(data, []), folder, said[data]) for data, own in rows.items()]
