"""Literals in text, numbers and Python's: checked and translated, never evaluated."""

import polars as pl

from mtlzoo.datamodules.checks import NUMBER, WHOLE, Rows, require

_INTEGERS = r"^\[ *(-?[0-9]{1,18} *(, *-?[0-9]{1,18} *)*)?\]$"
_STRING = r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\""""
_QUOTE, _BACKSLASH = "\x01", "\x02"
"""Stand for the quotes around a string and for a backslash that is meant; no literal has them unescaped."""


def whole_numbers(values: pl.Series, column: str, rows: Rows | None = None) -> pl.Series:
    """Texts such as ``7`` or ``-007`` as Int64; null stays null.

    Args:
        values: The texts.
        column: Their raw column, for messages.
        rows: As for `require`.

    Raises:
        DataError: A text that is spelt otherwise (``0x7``, ``7.0``, ``7e0``, ``+7``, `` 7``), or beyond 64 bits.
    """
    found = values.cast(pl.Int64, strict=False)
    good = values.is_null() | (values.str.contains(WHOLE) & found.is_not_null())
    require(good, values, column, rows, "a whole number such as 7 or -7 that 64 bits hold")
    return found


def decimal_numbers(values: pl.Series, column: str, rows: Rows | None = None) -> pl.Series:
    """Texts such as ``7``, ``-7.5`` or ``1e-05`` as Float64; null stays null. Otherwise as `whole_numbers`.

    Raises:
        DataError: A text that is spelt otherwise (``inf``, ``nan``, ``1_000``, ``+7``, `` 7``), or beyond the range.
    """
    found = values.cast(pl.Float64, strict=False)
    good = values.is_null() | (values.str.contains(NUMBER) & found.is_finite())
    require(good, values, column, rows, "a finite number such as 7, -7.5 or 1e-05")
    return found


def integer_lists(values: pl.Series, column: str) -> pl.Series:
    """Texts such as ``[27, 9]`` as lists of integers; null stays null.

    Args:
        values: The texts.
        column: Their raw column, for messages.

    Raises:
        DataError: A text that is no list of integers.
    """
    require(values.str.contains(_INTEGERS), values, column, None, "a list of integers such as [27, 9]")
    return values.str.extract_all("-?[0-9]+").cast(pl.List(pl.Int64))


def literals_as_json(lines: pl.Series) -> pl.Series | None:
    r"""Texts of dictionaries, as ``repr`` writes them, as JSON; four times faster than `ast.literal_eval`.

    Args:
        lines: Texts such as ``{'asin': '0001', 'title': "It's", 'categories': [['Books']]}``.

    Returns:
        The texts, or None if one of them has what is not simply translated (``None``, ``u'text'``, ``\"``, a tuple).
        What is returned may still be no JSON, where a text is no literal or has an escape that JSON lacks.
    """
    outside = lines.str.replace_all(_STRING, "")
    text = lines.str.replace_all(_STRING, f"{_QUOTE}${{1}}${{2}}{_QUOTE}")
    text = text.str.replace_all(r"\\", _BACKSLASH, literal=True)
    odd = outside.str.contains(r"[^\[\]{}:,\s0-9.eE+-]") | text.str.contains(r"\"", literal=True)
    if (odd | lines.str.contains(f"[{_QUOTE}{_BACKSLASH}]")).any():
        return None
    text = text.str.replace_all(r"\'", "'", literal=True).str.replace_all('"', r"\"", literal=True)
    text = text.str.replace_all(r"\\x([0-9a-fA-F]{2})", r"\u00${1}")
    return text.str.replace_all(_BACKSLASH, r"\\", literal=True).str.replace_all(_QUOTE, '"', literal=True)
