"""Average ranks over many data sets and tasks (Friedman and Nemenyi; Demsar, JMLR 2006)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import friedmanchisquare, rankdata, studentized_range

from mtlzoo.compare.statistics.resample import Array

LEAST = 5
"""Data sets x tasks below which average ranks say too little."""
LEVEL = 0.05


@dataclass(frozen=True)
class Ranks:
    """Contenders over blocks, the data sets x tasks.

    Args:
        names: Of the contenders, the best first.
        average: Their average ranks; 1 is best.
        blocks: How many data sets x tasks.
        p: Of Friedman's test that all are alike.
        critical: Nemenyi's critical difference: average ranks further apart differ at .05, all pairs together.
    """

    names: tuple[str, ...]
    average: tuple[float, ...]
    blocks: int
    p: float
    critical: float


def ranks_over_blocks(names: Sequence[str], goodness: Array) -> Ranks:
    """Friedman's test, and the difference of average ranks that Nemenyi's test calls one.

    Args:
        names: k contenders, 3 or more.
        goodness: [k, blocks], higher is better: means over the seeds.

    Raises:
        ValueError: Fewer than 3 contenders or 5 blocks.
    """
    contenders, blocks = goodness.shape
    if contenders < 3 or blocks < LEAST:
        raise ValueError(
            f"average ranks of {contenders} contenders over {blocks} data sets x tasks say nothing; 3 contenders and "
            f"{LEAST} data sets x tasks are the least. Add data sets, or compare task by task."
        )
    average = rankdata(-goodness, axis=0).mean(1)
    order = np.argsort(average, kind="stable")
    critical = studentized_range.ppf(1 - LEVEL, contenders, np.inf) / np.sqrt(2)
    critical *= np.sqrt(contenders * (contenders + 1) / (6 * blocks))
    p = float(friedmanchisquare(*goodness).pvalue) if np.ptp(goodness, axis=0).any() else 1.0
    return Ranks(tuple(names[i] for i in order), tuple(float(average[i]) for i in order), blocks, p, float(critical))
