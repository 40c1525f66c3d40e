"""What numbers say, in a sentence."""

from mtlzoo.compare.leaderboard.family import SIGNIFICANT, Family, Key
from mtlzoo.compare.statistics.intervals import Estimate


def over(estimate: Estimate) -> str:
    """Which noise an interval knows, where it is not all of it."""
    if estimate.seeds == 1:
        return "over users alone: one seed" if estimate.by_users else "one seed: no interval"
    return "" if estimate.by_users else "over seeds alone: no rows"


def said(family: Family, key: Key, needed: int | None) -> str:
    """How a contender compares with the baseline.

    Args:
        family: Of the metric.
        key: Task and contender.
        needed: Seeds that a difference of .001 would need.
    """
    limits = over(family.values[key])
    if key[1] == family.baseline:
        return f"the baseline{limits and f' ({limits})'}"
    if family.baseline is None:
        return limits
    gap = family.gaps.get(key)
    if gap is None or gap.seeds == 0:
        return f"not compared: no seed in common with a finished {family.baseline}"
    low, high = gap.interval()
    limits = over(gap)
    interval = f"{low:+.4f} to {high:+.4f}{limits and f', {limits}'}" if low == low else limits
    adjusted = family.adjusted.get(key)
    if adjusted is None and gap.value == gap.std == 0:
        return f"the same as {family.baseline} with every seed"
    if adjusted is None:
        return f"{gap.value:+.4f} from {family.baseline} ({interval}); no test"
    if adjusted >= SIGNIFICANT:
        more = f"a difference of .001 would need {needed} seeds" if needed else "no number of seeds shows .001 here"
        return f"no difference from {family.baseline} shown: {gap.value:+.4f} ({interval}), p {adjusted:.3f}; {more}"
    better = (gap.value > 0) == family.higher
    size = f"{abs(gap.value):.4f} ({interval}), p {_small(adjusted)}"
    return f"{'better' if better else 'worse'} than {family.baseline} by {size}"


def _small(p: float) -> str:
    return "< .0001" if p < 0.0001 else f"{p:.2g}"
