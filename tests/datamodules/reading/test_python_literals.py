import polars as pl
import pytest

from mtlzoo.datamodules import DataError
from mtlzoo.datamodules.reading.python_literals import integer_lists


def test_lists_of_integers() -> None:
    texts = pl.Series(["[27, 9]", "[8]", "[]", None, "[ 1,-2 , 3 ]"])
    assert integer_lists(texts, "feat").to_list() == [[27, 9], [8], [], None, [1, -2, 3]]
    assert integer_lists(pl.Series([], dtype=pl.String), "feat").dtype == pl.List(pl.Int64)


@pytest.mark.parametrize(
    "wrong",
    [
        "27",
        "[27, 9",
        "[27 9]",
        "[a]",
        "[1.5]",
        "__import__('os')",
        "[1,]",
        "",
        "[[1]]",
        "[\u0661]",
        "[0x1]",
        "[1_0]",
        "[99999999999999999999]",
        "[+1]",
    ],
)
def test_anything_else_is_refused(wrong: str) -> None:
    with pytest.raises(DataError, match=r"Column 'feat': found .*; allowed is a list of integers"):
        integer_lists(pl.Series(["[1]", wrong]), "feat")
