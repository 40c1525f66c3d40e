"""Several items in one text: joined by a separator, or as Python, JSON and NumPy write lists."""

import ast
import json
import re

import polars as pl

from mtlzoo.datamodules.values.keys import FEW

_MISSING = ("", "None", "null", "nan", "NaN", "<NA>")
_STRING = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_ITEM = rf"(?:-?[0-9]+(?:\.[0-9]*)?|{'|'.join(_MISSING[1:])}|{_STRING})"
_COMMAS, _BLANKS = rf"{_ITEM}(?:\s*,\s*{_ITEM})*", rf"{_ITEM}(?:\s+{_ITEM})+"
_LISTS = (
    rf"\[\s*(?:{_COMMAS}\s*,?|{_BLANKS})?\s*\]",
    rf"\(\s*(?:{_ITEM}\s*,|{_ITEM}\s*,\s*{_COMMAS})?\s*\)",  # one item in parentheses may be a name
    rf"\{{\s*{_COMMAS}\s*\}}",
)
_LIST = rf"^(?:{'|'.join(_LISTS)})$"
_LISTED = frozenset("[](){}'\"")
"""Lists and strings have at least one of these."""
_MEANT = r"^(?:[\[{]|[A-Za-z_.]+\([\[({]|frozenset\(\)$)"
"""Begins as a list, a set, an object or a call such as ``array([1, 2])``: never taken for names that are joined."""

ALLOWED = (
    "names joined by the column's separator, or a list such as [1, 2] or ['a', \"b\"] with nothing nested or left out. "
    "Correct the row, or write the column as lists into Parquet"
)


def split_items(texts: pl.Series, separator: str) -> pl.Series:
    """Texts as lists of their items, without blank and missing ones.

    ``a,b``, ``'a','b'``, ``['a', 'b']``, ``["a", "b"]``, ``('a', 'b')`` and ``['a' 'b']`` are the same list. Nothing is
    evaluated.

    Args:
        texts: Each distinct text once: those with escapes are decoded one by one.
        separator: Separates items that are joined.

    Returns:
        Lists of texts; null for a text that is no list though it begins like one.
    """
    if len(texts) <= FEW and (plain := _plain(texts.to_list(), separator)) is not None:
        return pl.Series(plain, dtype=pl.List(pl.String))
    between = rf"\s*{re.escape(separator)}\s*"
    text, item = pl.col("text"), pl.element().str.strip_chars()
    a_list = text.str.contains(_LIST)
    quoted = text.str.contains(rf"^(?:{_STRING})(?:{between}(?:{_STRING}))*$")
    stripped = text.str.strip_chars().replace("set()", "[]")  # how Python writes a set of nothing
    looked_at = (
        pl.DataFrame({"text": texts})
        .select(stripped)
        .select(
            text,
            lists=a_list,
            strings=(a_list & text.str.contains("['\"]")) | quoted,
            meant=text.str.contains(_MEANT),
            items=text.str.split(separator).list.eval(item.filter(item != "")),
        )
    )
    texts, lists, strings, meant, items = looked_at.get_columns()
    if lists.any():
        items = _chosen(lists, _numbers(texts), items)
    if strings.any():
        items = _chosen(strings, _literals(texts.set(~strings, None)), items)
    return _chosen(lists | ~meant, items, None)


def _plain(texts: list[str], separator: str) -> list[list[str]] | None:
    """What a few texts are that can only be names joined; None where one may be more: requests have a row or two."""
    if not all(text.isascii() and text.isprintable() and _LISTED.isdisjoint(text) for text in texts):
        return None
    return [[item for part in text.split(separator) if (item := part.strip())] for text in texts]


def _chosen(where: pl.Series, items: pl.Series, others: pl.Series | None) -> pl.Series:
    return pl.select(pl.when(where).then(items).otherwise(others)).to_series()


def _numbers(texts: pl.Series) -> pl.Series:
    items = texts.str.strip_chars("[]{}() \n\r\t").str.replace_all(r"\s*,\s*|\s+", ",").str.split(",")
    plain = pl.element().str.strip_chars_end(".")  # NumPy writes 1. for 1.0
    return items.list.eval(plain.filter(~pl.element().is_in(_MISSING)))


def _literals(texts: pl.Series) -> pl.Series:
    tokens = texts.str.extract_all(_ITEM)
    escaped = tokens.explode(empty_as_null=True).unique()
    escaped = escaped.filter(escaped.str.contains("\\", literal=True))
    decoded = {token: text for token in escaped if (text := _decoded(token)) is not None}
    element = pl.element()
    quoted = element.str.contains("^['\"]")
    inside = element.str.slice(1, element.str.len_chars() - 2)
    bare = element.str.strip_chars_end(".")
    whole = pl.when(quoted).then(inside).otherwise(bare)
    plain = pl.when(element.is_in(list(decoded))).then(element.replace(decoded)).otherwise(whole)
    there = pl.when(quoted).then(inside.str.strip_chars() != "").otherwise(~element.is_in(_MISSING))
    items = tokens.list.eval(plain.filter(there))
    for token in set(escaped) - set(decoded):
        items = _chosen(~texts.str.contains(token, literal=True), items, None)
    return items


def _decoded(token: str) -> str | None:
    """A string without its quotes and escapes; None if it has escapes that are none."""
    for read in (json.loads, ast.literal_eval):
        try:
            text = read(token)
            text.encode()
        except (ValueError, SyntaxError):
            continue
        return str(text)
    return None
