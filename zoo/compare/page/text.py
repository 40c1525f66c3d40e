"""Numbers as the page writes them."""

import math

NONE = "–"


def number(value: float | None, digits: int = 4) -> str:
    """A metric: ``0.7231``."""
    return NONE if value is None or math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 4) -> str:
    """A difference, always with its sign: ``+0.0021``."""
    return NONE if value is None or math.isnan(value) else f"{value:+.{digits}f}".replace("-", "−")


def interval(low: float | None, high: float | None, digits: int = 4) -> str:
    """``0.7210 to 0.7250``, or nothing."""
    known = low is not None and high is not None and not math.isnan(low + high)
    return f"{number(low, digits)} to {number(high, digits)}" if known else ""


def probability(value: float | None) -> str:
    """A p value: ``p 0.004``, ``p < 0.001``, or nothing."""
    if value is None or math.isnan(value):
        return ""
    return "p < 0.001" if value < 0.001 else f"p {value:.3f}"


def amount(value: float | None) -> str:
    """A count or a measure with three figures or all that stand before the point: ``1,234``, ``12.3``."""
    if value is None or math.isnan(value):
        return NONE
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def listed(names: list[str], most: int = 8) -> str:
    """Names in a sentence, ``a, b and c``; the rest is counted where there are many."""
    if len(names) > most:
        names = [*names[:most], f"{len(names) - most} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
