"""One data set and metric: every contender on every task, and all its tests, which are adjusted together."""

from collections.abc import Mapping

from mtlzoo.compare.leaderboard.measured import Samples
from mtlzoo.compare.statistics.gains import average_ranks
from mtlzoo.compare.statistics.holm import holm
from mtlzoo.compare.statistics.intervals import Estimate, Scale, estimate
from mtlzoo.compare.statistics.sample import difference, mean
from mtlzoo.metrics.direction import direction

MEAN = "mean"
"""Task of what is a mean over tasks."""
SIGNIFICANT = 0.05
"""Family-wise error: the chance that a table holds one difference or more that is none."""

Key = tuple[str, str]
"""Task, contender."""


class Family:
    """Estimates of contenders on tasks and on their mean.

    The tests against the baseline are one family, adjusted by Holm: all contenders x (tasks and their mean). So are
    those against the best; as the data chose it, they count as so many of all pairs of contenders.

    Args:
        metric: Of `mtlzoo.compare.leaderboard.measured.COMPARED`.
        tasks: Samples by task and contender.
        baseline: Name of the contender that the others are compared with, if any.
    """

    def __init__(self, metric: str, tasks: Mapping[str, Samples], baseline: str | None) -> None:
        self.metric, self.baseline = metric, baseline
        self.higher = direction(metric) == "max"
        self.tasks = tuple(tasks)
        self.samples = dict(tasks)
        if len(tasks) > 1:
            everywhere = [name for name in next(iter(tasks.values())) if all(name in of for of in tasks.values())]
            self.samples[MEAN] = {name: mean(*(of[name] for of in tasks.values())) for name in everywhere}
        self.values = {
            (task, name): estimate(sample) for task, of in self.samples.items() for name, sample in of.items()
        }
        self.best = {task: self._best(task) for task in self.samples}
        self.gaps = self._differences(dict.fromkeys(self.samples, baseline))
        self.best_gaps = self._differences(dict(self.best))
        self.adjusted = _adjusted(self.gaps)
        pairs = sum(len(of) * (len(of) - 1) // 2 for of in self.samples.values())
        self.best_adjusted = _adjusted(self.best_gaps, pairs)
        self.ranks = {
            (task, name): rank
            for task, of in self.samples.items()
            if task != MEAN
            for name, rank in zip(of, average_ranks(list(of.values()), self.higher), strict=True)
        }
        for name in self.samples.get(MEAN, ()):
            self.ranks[MEAN, name] = sum(self.ranks[task, name] for task in tasks) / len(tasks)

    @property
    def scale(self) -> Scale:
        """On which intervals of values are made: what is better the higher lies between 0 and 1, errors above 0."""
        return "logit" if self.higher else "log"

    def is_best(self, key: Key) -> bool:
        """Whether it may be the best of its task: the best is among these with a chance of 95 %, whichever it is.

        Each is compared with the one that is ahead, one-sided, at .05 over the number of others (subsets that hold the
        best: Gupta, Technometrics 1965; Hsu, Annals of Statistics 1984). Of a single seed nothing is.
        """
        if self.values[key].seeds < 2:
            return False
        if self.best[key[0]] == key[1] or self.best_gaps[key].value == 0:
            return True
        p = self.best_gaps[key].p_of_several
        others = sum(task == key[0] for task, _ in self.best_gaps)
        return p is not None and p / 2 * others >= SIGNIFICANT

    def about(self) -> str:
        """Which tests were adjusted together."""
        against = f"{len(self.adjusted)} comparisons with {self.baseline}" if self.adjusted else "no comparisons"
        pairs = sum(len(of) * (len(of) - 1) // 2 for of in self.samples.values())
        return f"{self.metric}: {against} adjusted together (Holm); those with the best as some of {pairs} pairs."

    def _best(self, task: str) -> str:
        def goodness(name: str) -> float:
            value = self.values[task, name].value
            return value if self.higher else -value

        return max(self.samples[task], key=goodness)

    def _differences(self, others: Mapping[str, str | None]) -> dict[Key, Estimate]:
        return {
            (task, name): estimate(difference(sample, of[other]))
            for task, of in self.samples.items()
            if (other := others[task]) in of
            for name, sample in of.items()
            if name != other
        }


def _adjusted(estimates: Mapping[Key, Estimate], tests: int | None = None) -> dict[Key, float]:
    """Of those that have a test."""
    found = {key: p for key, of in estimates.items() if (p := of.p_of_several) is not None}
    return dict(zip(found, holm(list(found.values()), tests), strict=True))
