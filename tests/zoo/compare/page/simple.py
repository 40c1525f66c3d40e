"""Rows of a leaderboard without its statistics: quick, and known without them; and a page of made-up cells."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from compare import made_up

from mtlzoo.compare.leaderboard import Leaderboard
from mtlzoo.compare.leaderboard.overall import overall
from mtlzoo.compare.page import write_page
from mtlzoo.compare.results import Result

BASELINE = "SingleTask"
METRICS = {"auc": True, "logloss": False}
SHOWN = 0.015
"""A difference above it counts as shown."""


def rows_of(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Rows in the layout of the leaderboard."""
    return [
        row
        for data in dict.fromkeys(result.data for result in results)
        for metric in METRICS
        for row in _rows(data, metric, [result for result in results if result.data == data])
    ]


def _rows(data: str, metric: str, results: Sequence[Result]) -> list[dict[str, Any]]:
    names = list(dict.fromkeys(result.name for result in results))
    tasks = [full.split("/")[1] for full in results[0].metrics if full.count("/") == 2 and full.endswith(f"/{metric}")]
    sign = 1 if METRICS[metric] else -1
    means: dict[tuple[str, str], Any] = {}
    for name in names:
        cells = [result.metrics for result in results if result.name == name]
        values = np.array([[cell[f"test/{task}/{metric}"] for task in tasks] for cell in cells])
        means |= {(name, task): values[:, place] for place, task in enumerate(tasks)} | {(name, "mean"): values.mean(1)}
    middle = {place: float(values.mean()) for place, values in means.items()}
    rank = {place: 1 + sum(sign * (middle[other, place[1]] - middle[place]) > 0 for other in names) for place in means}
    kinds = {result.name: (result.model, result.rule) for result in results}
    rows = []
    for (name, task), value in middle.items():
        best = max(sign * middle[other, task] for other in names)
        gain = None if name == BASELINE else value - middle[BASELINE, task]
        shown = gain is not None and abs(gain) > SHOWN
        worse = shown and gain is not None and sign * gain < 0
        words = "the baseline" if gain is None else "no difference shown" if not shown else f"differs by {gain:+.4f}"
        changes = [sign * (middle[name, t] / middle[BASELINE, t] - 1) for t in tasks]
        behind = sign * best - value
        rows.append(
            {"data": data, "name": name, "model": kinds[name][0], "rule": kinds[name][1], "task": task}
            | {"metric": metric, "higher_is_better": sign > 0, "seeds": len(means[name, task]), "value": value}
            | {"std": float(means[name, task].std()), "low": value - 0.005, "high": value + 0.005, "difference": gain}
            | {f"difference_{end}": None if gain is None else gain + by for end, by in (("low", -0.01), ("high", 0.01))}
            | {"p": None if gain is None else 0.01 if shown else 0.5, "words": words}
            | {"p_holm": None if gain is None else 0.02 if shown else 1.0, "best": abs(behind) <= SHOWN}
            | {"best_difference": None if behind == 0 else -behind, "best_p_holm": None if behind == 0 else 0.2}
            | {"relaimpr": (value - 0.5) / (middle[BASELINE, task] - 0.5) - 1 if metric == "auc" else None}
            | {"delta_m_low": None, "delta_m_high": None}
            | {"delta_m": 100 * math.fsum(changes) / len(changes) if task == "mean" else None}
            | {"rank": float(np.mean([rank[name, t] for t in tasks])) if task == "mean" else float(rank[name, task])}
            | {"negative_transfer": None if gain is None else worse, "seeds_for_001": None if gain is None else 12}
        )
    return rows


def page_of(
    folder: Path, contenders: Sequence[made_up.Contender] = made_up.CONTENDERS, **how: Any
) -> tuple[Path, list[Result]]:
    """Made-up cells below a folder, and their page there."""
    results = made_up.write_cells(folder, contenders, **how)
    path = folder / "compare.html"
    rows = rows_of(results)
    board = Leaderboard(rows, [], ["The tests of AUC are one family."], overall(rows))
    write_page(path, board, results, asked="data: Clicks\nseeds: 3\n", notes=["One cell failed."])
    return path, results
