"""What is gained over a baseline, as numbers that the field reports."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from mtlzoo.compare.statistics.resample import Array
from mtlzoo.compare.statistics.sample import Sample, combined


def delta_m(samples: Sequence[Sample], baselines: Sequence[Sample], higher: Sequence[bool]) -> Sample:
    """Mean relative gain over the tasks, in percent (Maninis et al., CVPR 2019).

    As a formula::

        delta_m = 100 / T * sum_t  sign_t (m_t - b_t) / |b_t|     sign_t: 1 where higher is better, else -1

    Args:
        samples: Of each task.
        baselines: The baseline's, of each task.
        higher: Whether higher is better, of each task.
    """
    signs = np.where(higher, 1.0, -1.0)

    def gain(*arrays: Array) -> Array:
        ours, theirs = np.stack(arrays[: len(signs)]), np.stack(arrays[len(signs) :])
        unknown = np.full_like(theirs, np.nan)  # over a baseline of 0
        gains = np.divide(ours - theirs, np.abs(theirs), out=unknown, where=theirs != 0)
        return np.asarray(100 * np.einsum("t,t...->...", signs, gains) / len(signs))

    return combined(gain, *samples, *baselines)


def relaimpr(value: float, baseline: float) -> float | None:
    """Gain of an AUC over the baseline's, both above chance (Yan et al., ICML 2014): ``(v - .5) / (b - .5) - 1``.

    None where the baseline is no better than chance.
    """
    return (value - 0.5) / (baseline - 0.5) - 1 if baseline > 0.5 else None


def average_ranks(samples: Sequence[Sample], higher: bool) -> list[float]:
    """Rank of every contender, 1 the best, ties shared: the mean over the seeds that all have, or of the means.

    Args:
        samples: One per contender.
        higher: Whether higher is better.
    """
    seeds = sorted(set(samples[0].seeds).intersection(*(sample.seeds for sample in samples)))
    if seeds:
        table = np.array([[sample.values[sample.seeds.index(seed)] for seed in seeds] for sample in samples])
    else:
        table = np.array([[sample.values.mean() if len(sample.values) else np.nan] for sample in samples])
    return [float(rank) for rank in rankdata(-table if higher else table, axis=0, nan_policy="omit").mean(1)]
