import numpy as np
import polars as pl
import pytest

from mtlzoo.datamodules.hashing import hash_values, uniform


def test_uniform_numbers_of_hashes() -> None:
    hashes = hash_values(pl.Series(range(20_000)))
    drawn = uniform(hashes, seed=3)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    shares = np.histogram(drawn, 10, (0, 1))[0] / len(drawn)
    assert shares.tolist() == pytest.approx([0.1] * 10, abs=0.01)
    assert uniform(hashes[::-1], seed=3)[::-1].tolist() == drawn.tolist()


def test_uniform_numbers_of_two_seeds_tell_nothing_of_each_other() -> None:
    hashes = hash_values(pl.Series([str(i) for i in range(20_000)]))
    one, other = uniform(hashes, seed=0), uniform(hashes, seed=1)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03
