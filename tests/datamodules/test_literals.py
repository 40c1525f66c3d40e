import polars as pl
import pytest

from mtlzoo.datamodules import DataError
from mtlzoo.datamodules.checks import numbers
from mtlzoo.datamodules.literals import decimal_numbers, integer_lists, whole_numbers


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


def test_numbers_in_text() -> None:
    assert whole_numbers(pl.Series(["7", "-007", None]), "x").to_list() == [7, -7, None]
    texts = ["7", "-7.5", "1e-05", ".5", "1."]
    assert decimal_numbers(pl.Series([*texts, None]), "x").to_list() == [*map(float, texts), None]


@pytest.mark.parametrize(
    "wrong", ["0x1", "1_000", "+1", " 1", "1\n", "", "\uff11", "\u0663", "inf", "nan", "NaN", "True", "1e", "1e999"]
)
def test_numbers_that_nobody_writes(wrong: str) -> None:
    values = pl.Series(["1", None, wrong])
    for parse in (whole_numbers, decimal_numbers):
        with pytest.raises(DataError, match=r"Column 'x', row 3: found .*; allowed is"):
            parse(values, "x", range(1, 4))
    with pytest.raises(DataError, match="Column 'x', row 3"):
        numbers(values, "x", range(1, 4))


@pytest.mark.parametrize("wrong", ["1e3", "1.0", "9223372036854775808"])
def test_texts_that_are_no_whole_numbers(wrong: str) -> None:
    with pytest.raises(DataError, match="allowed is a whole number"):
        whole_numbers(pl.Series([wrong]), "x")
