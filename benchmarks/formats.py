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


def aliccp(folder: Path, rows: int) -> Path:
    """Writes Ali-CCP's files: nine tenths of the rows in train, a tenth in test.

    Common features, of 201 features each, are as many per row as the publisher's: 730,600 for 42,300,135 rows of train,
    884,212 for 43,016,840 of test. Rows name them in random order, which is the worst for finding them. There are up to
    as many users and items as the paper counts, 0.4 and 4.3 million.

    Returns:
        The folder, which is the data module's root; 285 bytes a row, 80 of them of common features.
    """
    random = np.random.default_rng(0)
    test = rows // 10
    sizes = {"train": (rows - test, 730_600 / 42_300_135), "test": (test, 884_212 / 43_016_840)}
    for part, (count, share) in sizes.items():
        common = max(1, round(count * share))
        # As a publisher's index does, a hash tells nothing of the order of rows.
        index = pl.Series("index", np.arange(common)).hash(seed=len(part))
        index = pl.select(pl.format("{}", index).str.pad_start(20, "0").str.tail(16)).to_series()
        if index.n_unique() < common:
            raise RuntimeError("two rows of common features have the same index; use another seed")
        with (folder / f"common_features_{part}.csv").open("wb") as file:
            for start in range(0, common, 10_000):
                size = min(10_000, common - start)
                _aliccp_write(file, index[start : start + size], *_aliccp_users(random, size))
        with (folder / f"sample_skeleton_{part}.csv").open("wb") as file:
            for start in range(0, count, CHUNK):
                size = min(CHUNK, count - start)
                click = random.random(size) < 0.04
                bought = click & (random.random(size) < 0.005)
                sample = pl.Series(np.arange(start + 1, start + size + 1))
                labels = (pl.Series(click).cast(pl.Int8), pl.Series(bought).cast(pl.Int8))
                users = index.gather(random.integers(0, common, size))
                _aliccp_write(file, sample, *labels, users, *_aliccp_items(random, size))
    return folder


def movielens(folder: Path, rows: int) -> Path:
    """Writes MovieLens' ``ratings.csv`` and ``movies.csv``: 160 ratings per user, 80,000 films.

    Returns:
        The folder, which is the data module's root; 25 bytes a row.
    """
    random = np.random.default_rng(0)
    each, films = 160, 80_000
    with (folder / "ratings.csv").open("wb") as file:
        for start in range(0, rows, CHUNK):
            row = np.arange(start, min(start + CHUNK, rows))
            # Films of a user differ: every one is from a stretch of its own.
            film = (films * ((row % each + random.random(len(row))) / each) ** 3).astype(np.int64) + row % each
            frame = pl.DataFrame(
                {
                    "userId": row // each + 1,
                    "movieId": film + 1,
                    "rating": random.integers(1, 11, len(row)) / 2,
                    "timestamp": 1_000_000_000 + random.integers(0, 600_000_000, len(row)),
                }
            )
            frame.write_csv(file, include_header=not start)
    numbers = np.arange(1, films + each + 1)
    titles = pl.select(pl.format("Film {} ({})", pl.lit(pl.Series(numbers)), pl.lit(pl.Series(1930 + numbers % 90))))
    table = pl.DataFrame({"movieId": numbers, "title": titles.to_series()})
    table.with_columns(genres=pl.lit("Drama|War")).write_csv(folder / "movies.csv")
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


def _aliccp_users(random: np.random.Generator, rows: int) -> tuple[pl.Series, pl.Series]:
    """Number of features and feature strings: 9 of the user, 48 in each history."""
    single = ["101", "121", "122", "124", "125", "126", "127", "128", "129"]
    sizes = [400_000, 100, 14, 3, 8, 4, 4, 3, 5]
    histories = {"109_14": 10_000, "110_14": 1_000_000, "127_14": 300_000, "150_14": 100_000}
    fields = single + [field for field in histories for _ in range(48)]
    sizes += [size for size in histories.values() for _ in range(48)]
    ids = (random.random((rows, len(fields))) ** 3 * sizes).astype(np.int64) + np.cumsum([0, *sizes[:-1]])
    values = np.where(np.arange(len(fields)) < 9, "1.0", random.choice(["0.69315", "1.94591", "2.3979"], ids.shape))
    entries = pl.DataFrame({"field": np.tile(fields, rows), "id": ids.ravel(), "value": values.ravel()}).select(
        pl.concat_str("field", pl.lit("\x02"), "id", pl.lit("\x03"), "value")
    )
    strings = entries.to_series().reshape((rows, len(fields))).arr.join("\x01")
    return pl.Series([len(fields)]).new_from_index(0, rows), strings


def _aliccp_items(random: np.random.Generator, rows: int) -> tuple[pl.Series, pl.Series]:
    """Number of features and feature strings: 8 or 9 of the item, 1 to 3 intentions."""
    sizes = {"205": 4_300_000, "206": 10_000, "207": 1_000_000, "216": 300_000, "508": 7_000, "509": 300_000}
    sizes |= {"702": 100_000, "301": 3, "853": 80_000, "210": 100_000}
    entries = []
    for number, (field, size) in enumerate([*sizes.items(), ("210", 100_000), ("210", 100_000)]):
        ids = pl.Series((random.random(rows) ** 3 * size).astype(np.int64) + 5_000_000 * number)
        there = random.random(rows) < (1.0 if number < 8 else 0.6)
        entry = pl.concat_str(pl.lit(f"\x01{field}\x02"), ids, pl.lit("\x031.0"))
        entries.append(pl.when(pl.Series(there)).then(entry).otherwise(pl.lit("")))
    strings = pl.select(pl.concat_str(entries).str.slice(1)).to_series()
    return strings.str.count_matches("\x02", literal=True), strings


def _aliccp_write(file: Any, *columns: pl.Series) -> None:
    frame = pl.DataFrame([column.alias(str(number)) for number, column in enumerate(columns)])
    frame.write_csv(file, include_header=False, quote_style="never")
