"""What a cell may hold, told by readings of our own that share nothing with the package's."""

import math
import re
from collections.abc import Callable
from typing import Any, TypeAlias

Allowed: TypeAlias = Callable[[Any], bool]
LARGEST = 2**31 - 1


class InvalidError(Exception):
    """No publisher writes such a file."""


def whole(low: int = 0, high: int = 2**63 - 1, *others: int, points: bool = False) -> Allowed:
    """Texts of whole numbers; `points`: also as ``1.0``."""

    def allowed(text: str) -> bool:
        if points:
            inside = number(-(2**53), 2**53, step=1)(text) and (low <= float(text) <= high or float(text) in others)
        else:
            inside = re.fullmatch("-?[0-9]+", text) is not None and (low <= int(text) <= high or int(text) in others)
        return inside

    return allowed


def number(low: float = -3.4028234e38, high: float = 3.4028234e38, *, step: float = 0) -> Allowed:
    """Texts of finite numbers."""
    pattern = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")

    def allowed(text: str) -> bool:
        fits = pattern.fullmatch(text) is not None and low <= float(text) <= high
        return fits and (not step or (float(text) / step).is_integer())

    return allowed


def text(pattern: str = "(?s).+") -> Allowed:
    """Texts that match."""
    return lambda value: re.fullmatch(pattern, value) is not None


def one_of(*texts: str) -> Allowed:
    """These texts."""
    return lambda value: value in texts


def maybe(allowed: Allowed, *missing: str) -> Allowed:
    """Also nothing, or these texts for it."""
    return lambda value: value in ("", *missing) or allowed(value)


def integer(low: int, *, missing: bool = False) -> Allowed:
    """Whole numbers of JSON."""
    return lambda value: missing if value is None else type(value) is int and low <= value < 2**63


def real(allowed: Callable[[float], bool]) -> Allowed:
    """Numbers of JSON."""
    return lambda value: type(value) in (int, float) and math.isfinite(value) and allowed(value)


def string(pattern: str = "(?s).*", *, missing: bool = False) -> Allowed:
    """Texts of JSON, without halves of characters."""
    return lambda value: (
        missing
        if value is None
        else isinstance(value, str)
        and re.fullmatch(pattern, value) is not None
        and not any("\ud800" <= c <= "\udfff" for c in value)
    )


def listed(of: Allowed, *, missing: bool = True) -> Allowed:
    """Lists of JSON."""
    return lambda value: missing if value is None else isinstance(value, list) and all(map(of, value))
