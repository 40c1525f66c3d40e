from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from mtlzoo.datamodules.prepare.encoders.base import Keys, coded
from mtlzoo.datamodules.prepare.encoders.vocabulary import CLOSE, Vocabulary

FAR = 2 * CLOSE


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([3, None, 5, 3], True),
        ([None, None], True),
        ([-(2**62), -(2**62) + 1], True),
        ([0, CLOSE - 1], True),
        ([0, CLOSE], False),
        ([-(2**62), 2**62], False),
        (["a", None, "b"], False),
        ([0.5, 2.0], False),
    ],
)
def test_close_integers_wait_as_they_are(values: list[Any], kept: bool) -> None:
    array = coded(pl.Series(values, dtype=None if any(v is not None for v in values) else pl.Int64))
    assert isinstance(array, pa.DictionaryArray) != kept
    assert array.to_pylist() == values


@pytest.mark.parametrize(
    "chunks",
    [
        [[3, None, 5, 3], [5, 3, None], [-1, 70_000]],
        [[3, 5, None], [FAR, 3, FAR], [None, None]],
        [[FAR, -FAR, 0], [0, 1, FAR], [7, 7, None]],
        [list(range(50)) * 2, [*range(0, 20_000, 100)], [None, 49]],
        [["a", None, "b"], ["b", "b"]],
    ],
)
def test_every_form_counts_and_gives_ids_alike(chunks: list[list[Any]]) -> None:
    keys = Keys("x", Vocabulary())
    staged = [
        coded(keys.check(pl.Series(chunk, dtype=pl.String if "a" in chunks[0] else pl.Int64), range(9)))
        for chunk in chunks
    ]
    keys.settle()
    for array in staged:
        keys.count(array, np.arange(len(array)))
    keys.table.fit()
    known = [value for chunk in chunks for value in chunk if value is not None]
    expected = {v: i for i, v in enumerate(sorted(set(known), key=lambda v: (-known.count(v), v)), 2)}
    for array, chunk in zip(staged, chunks, strict=True):
        assert keys.ids(array).tolist() == [expected.get(value, 1) for value in chunk]


def test_only_the_rows_of_train_count() -> None:
    keys = Keys("x", Vocabulary(min_count=2))
    array = coded(keys.check(pl.Series([4, 4, 9, 9, None]), range(5)))
    keys.settle()
    keys.count(array, np.asarray([0, 1, 2, 4]))
    keys.table.fit()
    assert keys.ids(array).tolist() == [2, 2, 1, 1, 1]
