"""Yes or no, however it is written: 0 and 1, booleans, words."""

from collections.abc import Sequence

import polars as pl

from mtlzoo.datamodules.values.arrow import from_arrow, to_arrow
from mtlzoo.datamodules.values.checks import Rows, numbers, require

TRUE = ("1", "1.0", "true", "t", "yes", "y")
FALSE = ("0", "0.0", "false", "f", "no", "n")
"""Words that are known, in capitals or not."""


def truths(
    values: pl.Series,
    column: str,
    rows: Rows,
    true: Sequence[str] = (),
    false: Sequence[str] = (),
) -> pl.Series:
    """The values as 0 and 1; null where they are missing.

    Args:
        values: Numbers, booleans or texts.
        column: Their raw column.
        rows: As of `require`.
        true: Texts, or numbers as text, that stand for 1 in place of `TRUE`, in these letters.
        false: As `true`, for 0.

    Raises:
        DataError: A value that is neither.
    """
    remedy = "or null where it is not observed. Correct the rows, or the label's kind"
    text = values.dtype in (pl.String, pl.Categorical, pl.Enum)
    if not (text or true or false):
        x = numbers(values, column, rows)
        require((x == 0) | (x == 1), values, column, rows, f"0 or 1, {remedy}")
        return x.cast(pl.Int8)
    if values.dtype == pl.String and not (true or false):  # what most files write costs a quarter of all that is known
        yes = values == "1"
        if (yes | (values == "0")).all():  # null is left out
            return yes.cast(pl.Int8)
    values = values.fill_nan(None) if values.dtype.is_float() else values
    keys = to_arrow(values.cast(pl.String)).dictionary_encode()
    words = from_arrow(keys.dictionary)
    exact, small = plain_words(words), words.str.to_lowercase()
    if values.dtype == pl.Boolean:  # which texts spell as true, True or TRUE
        true, false = ([word.lower() for word in given] for given in (true, false))
    yes, no = (
        exact.is_in(plain_words(pl.Series(given, dtype=pl.String))) if given else small.is_in(list(known))
        for given, known in ((true, TRUE), (false, FALSE))
    )
    known = pl.select(pl.when(yes).then(1).when(no).then(0).otherwise(None).cast(pl.Int8)).to_series()
    missing = (words == "").gather(from_arrow(keys.indices)) | values.is_null()
    found = known.gather(from_arrow(keys.indices))
    allowed = f"{' '.join(true or TRUE)} for 1, {' '.join(false or FALSE)} for 0, {remedy}; or list the texts in "
    require(found.is_not_null() | missing, values, column, rows, f"{allowed}true_values and false_values")
    return found


def plain_words(words: pl.Series) -> pl.Series:
    """Texts with whole numbers spelt without ``.0``, which pandas adds where a column has gaps."""
    return words.str.replace(r"^(-?[0-9]+)\.0$", "${1}")
