"""Whether rules leave the front that static weights of the losses trace out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mtlzoo.compare.leaderboard.measured import Measured
from mtlzoo.compare.results import Result
from mtlzoo.compare.statistics.frontier import margin
from mtlzoo.compare.statistics.intervals import Estimate, estimate
from mtlzoo.compare.statistics.sample import difference
from mtlzoo.metrics.direction import direction


@dataclass(frozen=True)
class Verdict:
    """Of one rule.

    Args:
        data: Name of the data set.
        name: Of the contender with the rule.
        model: Its model, which the static weights were trained on, too.
        tasks: Tasks of the weights.
        points: How many static weights there are.
        margin: Additive epsilon margin over them, see `mtlzoo.compare.statistics.frontier`.
        low: Its lower end; None where the noise is not known.
        nearest: Name of the static weights that decide.
        leaves: Whether the lower end is above 0.
        words: The same as a sentence.
    """

    data: str
    name: str
    model: str
    tasks: tuple[str, ...]
    points: int
    margin: float
    low: float | None
    nearest: str
    leaves: bool
    words: str


def verdicts(data: str, results: Sequence[Result], found: Measured) -> list[Verdict]:
    """Of every contender with a rule whose model was also trained with static weights.

    Args:
        data: Name of the data set.
        results: Its cells.
        found: What they measured.
    """
    judged: list[Verdict] = []
    for model in dict.fromkeys(result.model for result in results):
        own = [result for result in results if result.model == model]
        points = dict.fromkeys(result.name for result in own if result.weights)
        rules = dict.fromkeys(result.name for result in own if not result.weights and result.rule != "sum")
        tasks = tuple(dict.fromkeys(task for result in own for task in result.weights or ()))
        tasks = tuple(task for task in tasks if task in found.main)
        if points and tasks:
            judged += [_verdict(data, rule, model, tasks, list(points), found, len(rules)) for rule in rules]
    return judged


def _verdict(
    data: str, rule: str, model: str, tasks: tuple[str, ...], points: list[str], found: Measured, rules: int
) -> Verdict:
    of_task = {task: found.samples[found.main[task]][task] for task in tasks}
    points = [point for point in points if all(point in of for of in of_task.values())]
    higher = {task: direction(found.main[task]) == "max" for task in tasks}
    differences = [
        [_better(estimate(difference(of_task[t][rule], of_task[t][p])), higher[t]) for t in tasks] for p in points
    ]
    result = margin(differences, rules)
    low = None if result.low != result.low else result.low
    nearest = points[result.nearest]
    leaves = low is not None and low > 0
    end = "no interval: one seed" if low is None else f"lower end {low:+.4f}"
    verb = "leaves" if leaves else "does not leave" if result.value <= 0 else "is not shown to leave"
    words = (
        f"{rule} {verb} what {len(points)} static weights of {' and '.join(tasks)} reach: {result.value:+.4f}, {end}"
    )
    return Verdict(data, rule, model, tasks, len(points), result.value, low, nearest, leaves, words)


def _better(gap: Estimate, higher: bool) -> Estimate:
    return gap if higher else replace(gap, value=-gap.value)
