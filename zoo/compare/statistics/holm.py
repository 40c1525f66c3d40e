"""Several tests in one table."""

from collections.abc import Sequence

import numpy as np


def holm(values: Sequence[float], tests: int | None = None) -> list[float]:
    """p-values adjusted for being several (Holm, Scandinavian Journal of Statistics 1979).

    Among all that are called significant at .05 after it, one or more false ones have a chance of .05 at most, however
    the tests depend on each other: the k-th smallest of m is multiplied by m - k + 1, and none is below one before it.

    Args:
        values: p-values.
        tests: How many tests they are the shown ones of, where they were chosen by the data: the best against the rest
            is so many of all pairs.
    """
    order = np.argsort(values, kind="stable")
    factors = (len(order) if tests is None else tests) - np.arange(len(order))
    adjusted = np.minimum(1.0, np.maximum.accumulate(np.asarray(values, dtype=np.float64)[order] * factors))
    return [float(value) for value in adjusted[np.argsort(order, kind="stable")]]
