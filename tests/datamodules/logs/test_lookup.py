import random

import polars as pl
import pytest

from mtlzoo.datamodules import DataError
from mtlzoo.datamodules.logs.lookup import KeyIndex


@pytest.mark.parametrize("dtype", [pl.Int64, pl.String])
def test_finds_the_row_of_every_key(dtype: type[pl.DataType]) -> None:
    draw = random.Random(0)
    table = draw.sample(range(1000), 300)
    queries = [draw.randrange(1000) for _ in range(2000)]
    rows = KeyIndex(pl.Series("key", table).cast(dtype), "x.csv").rows(pl.Series(queries).cast(dtype))
    assert rows.tolist() == [table.index(key) if key in table else -1 for key in queries]


def test_a_missing_key_has_no_row() -> None:
    assert KeyIndex(pl.Series(["b", "a"]), "x.csv").rows(pl.Series([None, "a", "c"])).tolist() == [-1, 1, -1]


def test_an_empty_table_and_no_queries() -> None:
    assert KeyIndex(pl.Series([], dtype=pl.String), "x.csv").rows(pl.Series(["a"])).tolist() == [-1]
    assert KeyIndex(pl.Series(["a"]), "x.csv").rows(pl.Series([], dtype=pl.String)).tolist() == []


def test_refuses_keys_that_repeat_or_are_missing() -> None:
    with pytest.raises(DataError, match=r"x\.csv: index 'a' occurs more than once"):
        KeyIndex(pl.Series("index", ["a", "b", "a"]), "x.csv")
    with pytest.raises(DataError, match=r"x\.csv: row 2 has no key 'index'"):
        KeyIndex(pl.Series("index", ["a", None]), "x.csv")
