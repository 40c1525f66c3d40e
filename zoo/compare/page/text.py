"""Numbers as the page writes them."""

import math

NONE = "–"


def number(value: float | None, digits: int = 4) -> str:
    """A metric, without the zero before the point: ``.7231``."""
    if value is None or math.isnan(value):
        return NONE
    text = f"{value:.{digits}f}".replace("-", "−")
    return text.replace("0.", ".", 1) if abs(value) < 1 and text.lstrip("−").startswith("0.") else text


def signed(value: float | None, digits: int = 4) -> str:
    """A difference, always with its sign: ``+.0021``."""
    if value is None or math.isnan(value):
        return NONE
    return number(value, digits) if value < 0 else f"+{number(value, digits)}"


def interval(low: float | None, high: float | None, digits: int = 4) -> str:
    """``.7210 to .7250``, or nothing."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"{number(low, digits)} to {number(high, digits)}"


def probability(value: float | None) -> str:
    """A p value: ``p .004``, ``p < .001``."""
    if value is None or math.isnan(value):
        return ""
    return "p < .001" if value < 0.001 else f"p {number(value, 3)}"


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
