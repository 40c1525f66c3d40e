"""How contenders look in every picture: the colour is the model's, the shape and the dashes are the rule's."""

from collections.abc import Sequence
from dataclasses import dataclass

COLOURS = {
    "ink": ("#1b1f24", "#e8eaed"),
    "quiet": ("#57606a", "#a3abb5"),
    "line": ("#d5dae0", "#3a414b"),
    "paper": ("#ffffff", "#14171c"),
    "raised": ("#f5f7f9", "#1d2229"),
    "accent": ("#0b5cad", "#7db7ff"),
    "good": ("#0b6e4f", "#5fd3a5"),
    "bad": ("#b3261e", "#ff9a8f"),
    "c0": ("#0b66b3", "#6db3f2"),
    "c1": ("#c75000", "#ff9d57"),
    "c2": ("#0c7a55", "#4fd0a0"),
    "c3": ("#a3338b", "#ef8fd9"),
    "c4": ("#8a6a00", "#e3c14a"),
    "c5": ("#b3261e", "#ff8a80"),
    "c6": ("#4b4fc4", "#a5a8ff"),
    "c7": ("#00798a", "#55d0e0"),
    "c8": ("#6b6f76", "#b4b9c1"),
    "c9": ("#7a4a2b", "#d3a17f"),
}
"""By name, in light and in dark; ``var(--name)`` in CSS and in pictures."""
MODELS = 10
SHAPES = (
    "M-.85,0A.85,.85,0,1,0,.85,0A.85,.85,0,1,0,-.85,0Z",
    "M-.8,-.8H.8V.8H-.8Z",
    "M0,-1L.95,.75H-.95Z",
    "M0,-1.1L.9,0L0,1.1L-.9,0Z",
    "M-.3,-1H.3V-.3H1V.3H.3V1H-.3V.3H-1V-.3H-.3Z",
    "M0,1L.95,-.75H-.95Z",
)
DASHES = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3), (12, 4), (4, 2, 1, 2))


@dataclass(frozen=True)
class Look:
    """Of a contender.

    Args:
        colour: ``var(--c0)`` and so on.
        shape: A path in the square from -1 to 1.
        dash: Lengths of dashes and gaps.
    """

    colour: str
    shape: str
    dash: tuple[int, ...]


def looks(contenders: Sequence[tuple[str, str, str]]) -> dict[str, Look]:
    """Looks by name; no two are the same as long as there are at most 10 models and 6 rules.

    Args:
        contenders: Name, model and rule of each.
    """
    models = list(dict.fromkeys(model for _, model, _ in contenders))
    rules = list(dict.fromkeys(rule for _, _, rule in contenders))
    found = {}
    for name, model, rule in contenders:
        place = models.index(model)
        kind = (rules.index(rule) + place // MODELS) % len(SHAPES)
        found[name] = Look(f"var(--c{place % MODELS})", SHAPES[kind], DASHES[kind])
    return found
