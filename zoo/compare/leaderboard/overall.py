"""Average ranks over data sets x tasks, where there are enough of them to say something."""

from collections.abc import Sequence

import numpy as np

from mtlzoo.compare.leaderboard.family import MEAN
from mtlzoo.compare.leaderboard.rows import Row
from mtlzoo.compare.statistics.ranks import LEAST, LEVEL, Ranks, ranks_over_blocks


def overall(rows: Sequence[Row]) -> Ranks | None:
    """Who is ahead over all data sets x tasks, each by the first metric that it has; None for few of them.

    Args:
        rows: Of the leaderboard.
    """
    blocks: dict[tuple[str, str], dict[str, float]] = {}
    judged: dict[tuple[str, str], str] = {}
    for row in rows:
        block = (row["data"], row["task"])
        if (
            row["task"] != MEAN
            and row["value"] is not None
            and judged.setdefault(block, row["metric"]) == row["metric"]
        ):
            blocks.setdefault(block, {})[row["name"]] = row["value"] if row["higher_is_better"] else -row["value"]
    names = [name for name in next(iter(blocks.values()), {}) if all(name in of for of in blocks.values())]
    if len(blocks) < LEAST or len(names) < 3:
        return None
    return ranks_over_blocks(names, np.array([[of[name] for of in blocks.values()] for name in names]))


def told(found: Ranks) -> list[str]:
    """Average ranks in two sentences, and who differs.

    Args:
        found: What `overall` found.
    """
    shown = ", ".join(f"{name} {rank:.2f}" for name, rank in zip(found.names, found.average, strict=True))
    said = f"Average ranks over {found.blocks} data sets x tasks: {shown}."
    if found.p >= LEVEL:
        return [said, f"Friedman's test shows no difference among them, p {found.p:.2g}."]
    apart = f"ranks further apart than {found.critical:.2f} differ (Nemenyi, .05)"
    return [said, f"Friedman's test shows that they differ, p {found.p:.2g}; {apart}."]
