"""Raw files in the publishers' own formats, with as many rows as one likes, from a seed: one function per format."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

CHUNK = 500_000
"""Rows that are made and written at once."""
KUAIRAND_RATES = {
    "is_click": 0.44,
    "is_like": 0.017,
    "is_follow": 0.0013,
    "is_comment": 0.0025,
    "is_forward": 0.0009,
    "is_hate": 0.0008,
    "long_view": 0.31,
    "is_profile_enter": 0.0185,
}
TENREC_RATES = {"click": 0.24, "follow": 0.0015, "like": 0.019, "share": 0.0021}


def kuairand(folder: Path, rows: int) -> Path:
    """Writes a log with KuaiRand's header: 27,285 users and up to 4.4 million videos of Zipf's popularity over 21 days.

    Returns:
        ``log.csv``, 73 bytes a row.
    """
    random = np.random.default_rng(0)
    path = folder / "log.csv"
    with path.open("wb") as file:
        for start in range(0, rows, CHUNK):
            _kuairand_rows(random, min(CHUNK, rows - start)).write_csv(file, include_header=not start)
    return path


def tenrec(folder: Path, rows: int) -> Path:
    r"""Writes Tenrec's ``ctr_data_1M.csv``: one user after the other, each with 120 rows on average.

    There are up to 2.3 million items of Zipf's popularity, ten clicked items per user (0 where there are fewer), and
    some categories are ``\N``.

    Returns:
        The folder, which is the data module's root; 90 bytes a row.
    """
    random = np.random.default_rng(0)
    users = 0
    with (folder / "ctr_data_1M.csv").open("wb") as file:
        for start in range(0, rows, CHUNK):
            frame = _tenrec_rows(random, min(CHUNK, rows - start), users)
            users = int(frame["user_id"][-1])
            frame.write_csv(file, include_header=not start)
    return folder


def _popular(random: np.random.Generator, size: int | tuple[int, int], most: int) -> Any:
    return (random.pareto(0.5, size) * 100).astype(np.int64) % most


def _kuairand_rows(random: np.random.Generator, rows: int) -> pl.DataFrame:
    def integers(low: int, high: int) -> Any:
        return random.integers(low, high, rows)

    day = integers(0, 21)
    labels = {name: (random.random(rows) < rate).astype(np.int8) for name, rate in KUAIRAND_RATES.items()}
    return pl.DataFrame(
        {
            "user_id": integers(0, 27_285),
            "video_id": _popular(random, rows, 4_369_953),
            "date": 20220410 + day,
            "hourmin": integers(0, 24) * 100,
            "time_ms": 1_649_520_000_000 + day * 86_400_000 + integers(0, 86_400_000),
            **{name: labels[name] for name in list(KUAIRAND_RATES)[:7]},
            "play_time_ms": integers(0, 60_000),
            "duration_ms": integers(0, 90_000),
            "profile_stay_time": integers(0, 3),
            "comment_stay_time": integers(0, 3),
            "is_profile_enter": labels["is_profile_enter"],
            "is_rand": np.zeros(rows, np.int8),
            "tab": integers(0, 15),
        }
    )


def _tenrec_rows(random: np.random.Generator, rows: int, before: int) -> pl.DataFrame:
    """Rows of users whose numbers follow `before`."""
    lengths = 1 + random.geometric(1 / 119, rows // 50 + 100)  # more users than there are rows for
    user = np.repeat(np.arange(len(lengths)), lengths)[:rows]
    history = 1 + _popular(random, (len(lengths), 10), 2_310_087)
    clicked = np.where(random.random(len(lengths)) < 0.98, 10, random.integers(0, 10, len(lengths)))
    history[np.arange(10) >= clicked[:, None]] = 0
    item = 1 + _popular(random, rows, 2_310_087)
    labels = {name: (random.random(rows) < rate).astype(np.int8) for name, rate in TENREC_RATES.items()}
    category = np.where(random.random(rows) < 0.013, r"\N", (item % 2).astype(str))
    return pl.DataFrame(
        {
            "user_id": before + 1 + user,
            "item_id": item,
            **labels,
            "video_category": category,
            "watching_times": labels["click"] * random.integers(1, 4, rows),
            "gender": random.integers(0, 3, len(lengths))[user],
            "age": random.integers(0, 8, len(lengths))[user],
            **{f"hist_{i + 1}": history[user, i] for i in range(10)},
        }
    )
