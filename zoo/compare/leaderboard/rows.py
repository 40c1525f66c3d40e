"""Rows of the leaderboard: what is known of one contender on one task by one metric."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from mtlzoo.compare.leaderboard.family import MEAN, SIGNIFICANT, Family, Key
from mtlzoo.compare.leaderboard.measured import Measured
from mtlzoo.compare.leaderboard.words import said
from mtlzoo.compare.statistics.gains import delta_m, relaimpr
from mtlzoo.compare.statistics.intervals import Estimate, estimate
from mtlzoo.compare.statistics.planning import seeds_needed
from mtlzoo.metrics.direction import direction

Row: TypeAlias = dict[str, Any]
MAIN = "main"
"""Metric of mean rows over tasks whose main metrics differ: they have a gain and a rank, but no value."""
COLUMNS = (
    *("data", "name", "model", "rule", "task", "metric", "higher_is_better", "seeds", "value", "std", "low", "high"),
    *("difference", "difference_low", "difference_high", "p", "p_holm", "best_difference", "best_p_holm", "relaimpr"),
    *("delta_m", "delta_m_low", "delta_m_high", "rank", "best", "negative_transfer", "seeds_for_001", "words"),
)
"""Of every row, in order; what is not known is None."""


def rows_of(found: Measured, families: Mapping[str, Family], baseline: str | None) -> list[Row]:
    """The rows of one data set, without its name, model and rule.

    Args:
        found: What its cells measured.
        families: Of every metric.
        baseline: Name of the contender that the others are compared with.
    """
    rows: list[Row] = []
    for metric, family in families.items():
        rows += [_row(family, key) for key in family.values]
        if len(family.tasks) == 1:  # the mean over one task is that task
            rows += [row | {"task": MEAN} for row in rows if row["metric"] == metric]
        gains = _gains(found, dict.fromkeys(family.tasks, metric), baseline)
        rows = [
            row | gains.get(row["name"], {}) if (row["metric"], row["task"]) == (metric, MEAN) else row for row in rows
        ]
    if len(set(found.main.values())) > 1:
        rows += _over_all(found, families, baseline)
    return rows


def _row(family: Family, key: Key) -> Row:
    task, name = key
    value, gap, best = family.values[key], family.gaps.get(key), family.best_gaps.get(key)
    adjusted = family.adjusted.get(key)
    needed = None if gap is None else seeds_needed(gap)
    worse = gap is not None and (gap.value > 0) != family.higher
    low, high = value.interval(family.scale)
    row = {
        "name": name,
        "task": task,
        "metric": family.metric,
        "higher_is_better": family.higher,
        "seeds": value.seeds,
        "value": value.value,
        "std": value.std,
        "low": low,
        "high": high,
        **_interval("difference", gap),
        "p": None if gap is None else gap.p,
        "p_holm": adjusted,
        "best_difference": None if best is None else best.value,
        "best_p_holm": family.best_adjusted.get(key),
        "relaimpr": _above_chance(family, key),
        "rank": family.ranks.get(key),
        "best": family.is_best(key),
        "negative_transfer": None if adjusted is None else worse and adjusted < SIGNIFICANT,
        "seeds_for_001": needed,
        "words": said(family, key, needed),
    }
    return dict.fromkeys(COLUMNS) | {column: _known(entry) for column, entry in row.items()}


def _interval(name: str, found: Estimate | None) -> Row:
    low, high = (None, None) if found is None else found.interval()
    return {
        name: None if found is None else _known(found.value),
        f"{name}_low": _known(low),
        f"{name}_high": _known(high),
    }


def _above_chance(family: Family, key: Key) -> float | None:
    base = None if family.baseline is None else family.values.get((key[0], family.baseline))
    if family.metric != "auc" or base is None or key[1] == family.baseline:
        return None
    return relaimpr(family.values[key].value, base.value)


def _gains(found: Measured, metrics: Mapping[str, str], baseline: str | None) -> dict[str, Row]:
    """Delta-m of every contender that has all tasks, which have a metric each."""
    higher = [direction(metric) == "max" for metric in metrics.values()]
    samples = [found.samples[metric][task] for task, metric in metrics.items()]
    names = [name for name in samples[0] if all(name in of for of in samples)]
    if baseline is None or baseline not in names:
        return {}
    base = [of[baseline] for of in samples]
    gains = {name: estimate(delta_m([of[name] for of in samples], base, higher)) for name in names if name != baseline}
    return {name: _interval("delta_m", gain) for name, gain in gains.items()}


def _over_all(found: Measured, families: Mapping[str, Family], baseline: str | None) -> list[Row]:
    """Mean rows over tasks of several main metrics."""
    gains = _gains(found, found.main, baseline)
    rows: list[Row] = []
    for name in (str(baseline), *gains) if gains else ():
        ranks = [families[metric].ranks[task, name] for task, metric in found.main.items()]
        mean = {"name": name, "task": MEAN, "metric": MAIN, "rank": sum(ranks) / len(ranks), "best": False}
        rows.append(dict.fromkeys(COLUMNS) | mean | gains.get(name, {}))
    return rows


def _known(entry: Any) -> Any:
    """None in place of NaN, which JSON and tables do not know."""
    return None if isinstance(entry, float) and entry != entry else entry
