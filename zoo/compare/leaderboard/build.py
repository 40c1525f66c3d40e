"""Results to the leaderboard: one row per data set, contender, task and metric, with what is shown and what is not."""

from collections.abc import Sequence
from dataclasses import dataclass

from mtlzoo.compare.leaderboard.comparable import by_data
from mtlzoo.compare.leaderboard.family import Family
from mtlzoo.compare.leaderboard.frontier import Verdict, verdicts
from mtlzoo.compare.leaderboard.measured import measured
from mtlzoo.compare.leaderboard.overall import overall, told
from mtlzoo.compare.leaderboard.rows import Row, rows_of
from mtlzoo.compare.results import Result
from mtlzoo.compare.statistics.ranks import Ranks

DRAWS, FEWEST = 2_000, 500
"""Draws of the users, and how many there are at least where cells are many."""
WORK = 4_000_000
"""Draws of all cells and tasks together that are worth their time."""


@dataclass(frozen=True)
class Leaderboard:
    """What a comparison came to.

    Args:
        rows: One per data set, contender, task and metric; docs/statistics.md lists their keys.
        frontier: Whether rules leave what static weights reach, where those were trained.
        notes: Sentences: which tests were adjusted together, what is not known.
        ranks: Average ranks over data sets x tasks; None where there are few of them.
    """

    rows: Sequence[Row]
    frontier: Sequence[Verdict]
    notes: Sequence[str]
    ranks: Ranks | None = None


def leaderboard(
    results: Sequence[Result], baseline: str | None, *, draws: int | None = None, seed: int = 0, apart: bool = False
) -> Leaderboard:
    """Compares the contenders of every data set.

    Args:
        results: Finished cells.
        baseline: Name of the contender that the others are compared with; None compares with none.
        draws: Draws of the users; `enough_draws` if None.
        seed: Of the draws.
        apart: Show results of one data set that can't be compared (other data, split or version of mtlzoo) under names
            of their own.

    Raises:
        ValueError: Results that can't be compared, without `apart`; several of one contender and seed.
    """
    rows: list[Row] = []
    frontier: list[Verdict] = []
    notes: list[str] = []
    draws = enough_draws(results) if draws is None else draws
    for data, cells in by_data(results, apart=apart).items():
        found = measured(cells, draws, seed)
        families = {metric: Family(metric, tasks, baseline) for metric, tasks in found.samples.items()}
        about = {cell.name: {"data": data, "name": cell.name, "model": cell.model, "rule": cell.rule} for cell in cells}
        rows += [row | about[row["name"]] for row in rows_of(found, families, baseline)]
        frontier += verdicts(data, cells, found)
        if baseline is not None and baseline not in about:
            notes.append(f"{data}: no finished cell of {baseline}, so nothing is compared with it.")
        tested = [family.about() for family in families.values() if family.adjusted or family.best_adjusted]
        notes += [f"{data}: {note}" for note in (*found.notes, *tested)]
    notes += [f"Of the users {draws:,} draws were made, as the cells are many."] if draws < DRAWS else []
    ranks = overall(rows)
    notes += [] if ranks is None else told(ranks)
    return Leaderboard(rows, frontier, notes, ranks)


def enough_draws(results: Sequence[Result]) -> int:
    """How many draws of the users: `DRAWS`, or fewer where there are so many cells and tasks that they took minutes.

    A variance over B draws is off by sqrt(2 / B) of itself: 3 percent with 2,000, 6 percent with 500.

    Args:
        results: All cells.
    """
    pairs = sum(len({name.split("/")[1] for name in each.metrics if name.count("/") == 2}) for each in results)
    return max(FEWEST, min(DRAWS, WORK // max(pairs, 1)))
