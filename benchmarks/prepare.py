"""Rows per second and peak memory of the preparation, beside plain pandas, on generated KuaiRand logs.

    python benchmarks/prepare.py [--rows 5000000 20000000] [--repeats 3]

Writes a log with KuaiRand's official header per number of rows (73 bytes a row) to a temporary folder. Then, each in a
process of its own:

* mtlzoo prepares it: reads the CSV, checks every value, splits by date, fits vocabularies and statistics on train,
  encodes and writes all columns (4 categorical, 1 numeric, 9 labels, group, 3 identifying columns) and syncs them;
* pandas reads the file with `read_csv` and numbers the 4 categorical columns with `factorize`: no checks, no split,
  nothing written;
* pandas does the same, but is told to read only the 16 columns that mtlzoo reads (`usecols`).

Times are the fastest of the repeats, taken in turns, and leave out imports; memory is the process's peak, imports
included. Result: benchmarks/results/prepare.json.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

RESULT = Path(__file__).parent / "results" / "prepare.json"
CATEGORICAL = ("user_id", "video_id", "tab", "hourmin")
BINARY = {
    "is_click": 0.44,
    "is_like": 0.017,
    "is_follow": 0.0013,
    "is_comment": 0.0025,
    "is_forward": 0.0009,
    "is_hate": 0.0008,
    "long_view": 0.31,
    "is_profile_enter": 0.0185,
}
COLUMNS = (*CATEGORICAL, "duration_ms", *BINARY, "play_time_ms", "date", "time_ms")


def generate(path: Path, rows: int, chunk: int = 500_000) -> None:
    """Writes a log of 27,285 users and up to 4.4 million videos of Zipf's popularity over 21 days."""
    random = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, rows, chunk):
            frame = _log(random, min(chunk, rows - start))
            frame.write_csv(file, include_header=not start)


def _log(random: np.random.Generator, rows: int) -> pl.DataFrame:
    def integers(low: int, high: int) -> Any:
        return random.integers(low, high, rows)

    day = integers(0, 21)
    labels = {name: (random.random(rows) < rate).astype(np.int8) for name, rate in BINARY.items()}
    return pl.DataFrame(
        {
            "user_id": integers(0, 27_285),
            "video_id": (random.pareto(0.5, rows) * 100).astype(np.int64) % 4_369_953,
            "date": 20220410 + day,
            "hourmin": integers(0, 24) * 100,
            "time_ms": 1_649_520_000_000 + day * 86_400_000 + integers(0, 86_400_000),
            **{name: labels[name] for name in list(BINARY)[:7]},
            "play_time_ms": integers(0, 60_000),
            "duration_ms": integers(0, 90_000),
            "profile_stay_time": integers(0, 3),
            "comment_stay_time": integers(0, 3),
            "is_profile_enter": labels["is_profile_enter"],
            "is_rand": np.zeros(rows, np.int8),
            "tab": integers(0, 15),
        }
    )


def with_mtlzoo(path: Path) -> Callable[[], object]:
    from mtlzoo.datamodules.columns import CategoricalColumn, Label, NumericColumn, Recipe, TimeSplit
    from mtlzoo.datamodules.prepare import prepare
    from mtlzoo.datamodules.reading import read_csv

    recipe = Recipe(
        columns=(*map(CategoricalColumn, CATEGORICAL), NumericColumn("duration_ms", "log1p")),
        labels=(*map(Label, BINARY), Label("play_time_ms", kind="regression")),
        split=TimeSplit("date", 20220427, 20220429),
        user="user_id",
        item="video_id",
        group="user_id",
        ids=("user_id", "video_id", "time_ms"),
    )
    types = dict.fromkeys(COLUMNS, pl.Int64) | dict.fromkeys(BINARY, pl.Int8)
    return lambda: prepare(
        recipe, lambda: read_csv(path, columns=types), path.with_suffix(".prepared"), name="KuaiRand"
    )


def with_pandas(path: Path, columns: list[str] | None = None) -> Callable[[], object]:
    import pandas as pd

    def read() -> None:
        frame = pd.read_csv(path, usecols=columns)
        for name in CATEGORICAL:
            frame[name], _ = pd.factorize(frame[name])

    return read


WAYS: dict[str, Callable[[Path], Callable[[], object]]] = {
    "mtlzoo": with_mtlzoo,
    "pandas": with_pandas,
    "pandas usecols": lambda path: with_pandas(path, list(COLUMNS)),
}


def measure(way: str, path: Path) -> None:
    """Prints seconds, seconds of all threads, and peak memory of this process as JSON."""
    run = WAYS[way](path)
    start, worked = time.perf_counter(), time.process_time()
    run()
    seconds, worked = time.perf_counter() - start, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    print(json.dumps({"seconds": round(seconds, 2), "processor_seconds": round(worked, 2), "peak_gib": round(peak, 2)}))


def compare(rows: int, repeats: int, folder: Path) -> list[dict[str, Any]]:
    """Measures every way on a log of that many rows, in turns, and takes the fastest run of each."""
    path = folder / f"log_{rows}.csv"
    generate(path, rows)
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            command = [sys.executable, __file__, "--measure", way, "--csv", str(path)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            runs[way].append(json.loads(output))
            shutil.rmtree(path.with_suffix(".prepared"), ignore_errors=True)
    results = []
    for way in WAYS:
        best = min(runs[way], key=lambda run: run["seconds"])
        rate = rows / best["seconds"]
        seconds = [run["seconds"] for run in runs[way]]
        results.append({"way": way, "rows": rows, "rows_per_second": round(rate), **best, "all_seconds": seconds})
        print(f"{way:16}{rows:12,}{best['seconds']:10.1f} s{rate:12,.0f} rows/s{best['peak_gib']:8.2f} GiB")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[5_000_000, 20_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--csv", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.csv)
        return
    results = []
    load = os.getloadavg()[0]
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            results += compare(rows, options.repeats, Path(folder))
    rates = {way: [r["rows_per_second"] for r in results if r["way"] == way] for way in WAYS}
    peaks = [r["peak_gib"] for r in results if r["way"] == "mtlzoo"]
    ratios = {
        way: [round(a / b, 2) for a, b in zip(rates["mtlzoo"], theirs, strict=True)]
        for way, theirs in rates.items()
        if way != "mtlzoo"
    }
    summary = {
        "command": " ".join(["python", "benchmarks/prepare.py", "--rows", *map(str, options.rows)])
        + f" --repeats {options.repeats}",
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
        "load_before": round(load, 2),
        "results": results,
        "speed_over": ratios,
        "peak_growth": round(peaks[-1] / peaks[0], 2),
    }
    print(f"speed over {ratios}; peak memory, last over first: {summary['peak_growth']}")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
