"""Python's list literals in text columns, without evaluating them."""

import polars as pl

from mtlzoo.datamodules.checks import require

_INTEGERS = r"^\[\s*(-?\d+\s*(,\s*-?\d+\s*)*)?\]$"


def integer_lists(values: pl.Series, column: str) -> pl.Series:
    """Texts such as ``[27, 9]`` as lists of integers; null stays null.

    Args:
        values: The texts.
        column: Their raw column, for messages.

    Raises:
        DataError: A text that is no list of integers.
    """
    require(values.str.contains(_INTEGERS), values, column, None, "a list of integers such as [27, 9]")
    return values.str.extract_all(r"-?\d+").cast(pl.List(pl.Int64))
