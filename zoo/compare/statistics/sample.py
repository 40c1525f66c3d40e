"""A number of one contender, seed by seed and draw by draw of the users: what all comparisons are made of."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mtlzoo.compare.statistics.resample import Array


@dataclass(frozen=True)
class Sample:
    """What a contender measured, or anything computed of what several did.

    Args:
        seeds: S of them, ascending.
        values: [S], on the test rows as they are.
        draws: [S, B], on every draw of the users, the same draws for all contenders; None where no rows are known.
        users: Users that count, `mtlzoo.compare.statistics.resample.effective_users`; of the draws.
    """

    seeds: tuple[int, ...]
    values: Array
    draws: Array | None = None
    users: float = 0.0

    @cached_property
    def defined(self) -> Array:
        """[S, draws in which all seeds are defined]; a draw may lack a class."""
        assert self.draws is not None
        return self.draws[:, ~np.isnan(self.draws).any(0)]

    @property
    def by_users(self) -> bool:
        """Whether the noise of users is known: rows, of two users or more, and draws that are defined."""
        return self.draws is not None and self.users >= 2 and self.defined.shape[1] >= 2


def combined(function: Callable[..., Any], *samples: Sample) -> Sample:
    """A function of several samples, over the seeds that they share: paired by seed and by draw of the users.

    Args:
        function: Of as many arrays as samples, elementwise: ``np.subtract``.
        *samples: One or more.
    """
    seeds = tuple(sorted(set(samples[0].seeds).intersection(*(sample.seeds for sample in samples))))
    places = [[sample.seeds.index(seed) for seed in seeds] for sample in samples]
    values = function(*(sample.values[place] for sample, place in zip(samples, places, strict=True)))
    drawn = [sample.draws[place] for sample, place in zip(samples, places, strict=True) if sample.draws is not None]
    known = len(drawn) == len(samples)
    return Sample(seeds, values, function(*drawn) if known else None, min(sample.users for sample in samples))


def difference(sample: Sample, other: Sample) -> Sample:
    """How much more a contender measured than another."""
    return combined(np.subtract, sample, other)


def mean(*samples: Sample) -> Sample:
    """The mean, over tasks for example."""
    return combined(lambda *arrays: np.mean(arrays, axis=0), *samples)
