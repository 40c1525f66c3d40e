"""Does a rule leave what static weights of the losses reach anyway?

Kurin et al. and Xin et al. (NeurIPS 2022) found that most rules end on the front that tuned static weights trace out;
Zhao et al. (NeurIPS 2023) that static weights may miss parts of it. A lattice of static weights is that front, sampled.
The additive epsilon margin of a rule over it is

    margin = min over points p of  max over tasks t of  (rule_t - p_t)        in units of the metric, higher is better

Above zero, no point is as good as the rule on every task; at or below, some point is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mtlzoo.compare.statistics.intervals import Estimate

LEVEL = 0.05


@dataclass(frozen=True)
class Margin:
    """Of one rule over all points.

    Args:
        value: As measured.
        low: Lower end, at 95 %, one-sided, for all rules together; NaN where nothing is known of the noise.
        nearest: Number of the point that decides.
    """

    value: float
    low: float
    nearest: int


def margin(differences: Sequence[Sequence[Estimate]], rules: int = 1) -> Margin:
    """The margin and its lower end.

    For every point the end is the highest of its tasks' lower ends, each at .05 / (tasks x rules). Of all points the
    lowest counts, and needs no more correction: at the point that really decides, the chance that it is too high is .05
    at most (an intersection-union test, Berger, Technometrics 1982).

    Args:
        differences: Rule less point, of every point and task, signed so that higher is better.
        rules: How many rules are judged.
    """
    values = [max(task.value for task in tasks) for tasks in differences]
    nearest = min(range(len(values)), key=values.__getitem__)
    lows = []
    for tasks in differences:
        level = 1 - 2 * LEVEL / (len(tasks) * rules)
        ends = [task.interval(level=level, several=True)[0] if task.p is not None else float("nan") for task in tasks]
        lows.append(float("nan") if any(end != end for end in ends) else max(ends))
    unknown = any(low != low for low in lows)
    return Margin(values[nearest], float("nan") if unknown else min(lows), nearest)
