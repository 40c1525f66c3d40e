"""Rows per second and peak memory of the preparation on generated files in the publishers' formats.

    python benchmarks/prepare.py [--data KuaiRand Tenrec ...] [--rows 5000000 20000000] [--repeats 3]

Writes the raw files per number of rows (`formats.py`) to a temporary folder. Then, each in a process of its own:

* mtlzoo prepares them: reads the text, checks every value, splits, fits vocabularies and statistics on train, encodes
  and writes all columns and syncs them. KuaiRand: 4 categorical, 1 numeric, 9 labels, group, 3 identifying columns,
  split by date. Tenrec: the data module with its defaults on ``ctr_data_1M``, split per user, ten items of history.
  AliCCP: the data module with its defaults, 58 rows to a row of common features. MovieLens: the data
  module with its defaults, which adds as many rows with sampled films as there are ratings;
* with AliCCP, mtlzoo prepares rows with the common features already joined to them;
* with KuaiRand, pandas reads the file with `read_csv` and numbers the 4 categorical columns with `factorize`: no
  checks, no split, nothing written;
* pandas does the same, but is told to read only the 16 columns that mtlzoo reads (`usecols`).

Times are the fastest of the repeats, taken in turns, and leave out imports; memory is the process's peak, imports
included. Results: benchmarks/results/prepare.json (KuaiRand), prepare_tenrec.json and so on.
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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import formats
import polars as pl

RESULTS = Path(__file__).parent / "results"
CATEGORICAL = ("user_id", "video_id", "tab", "hourmin")
BINARY = tuple(formats.KUAIRAND_RATES)
COLUMNS = (*CATEGORICAL, "duration_ms", *BINARY, "play_time_ms", "date", "time_ms")
Way: TypeAlias = Callable[[Path, Path], Callable[[], object]]
"""Gets ready to read the raw files at the first path, with the second one to write to."""


def with_mtlzoo(path: Path, prepared: Path) -> Callable[[], object]:
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
    return lambda: prepare(recipe, lambda: read_csv(path, columns=types), prepared, name="KuaiRand")


def with_pandas(path: Path, columns: list[str] | None = None) -> Callable[[], object]:
    import pandas as pd

    def read() -> None:
        frame = pd.read_csv(path, usecols=columns)
        for name in CATEGORICAL:
            frame[name], _ = pd.factorize(frame[name])

    return read


def tenrec(root: Path, prepared: Path) -> Callable[[], object]:
    from mtlzoo.datamodules import Tenrec

    return Tenrec(root, scenario="ctr_data_1M", prepared=prepared).prepare_data


def aliccp(root: Path, prepared: Path) -> Callable[[], object]:
    from mtlzoo.datamodules import AliCCP

    return AliCCP(root, prepared=prepared).prepare_data


def aliccp_joined_first(root: Path, prepared: Path) -> Callable[[], object]:
    from mtlzoo.datamodules import AliCCP

    module = AliCCP(root, prepared=prepared)
    module.read = module.read  # type: ignore[method-assign]
    return module.prepare_data


def movielens(root: Path, prepared: Path) -> Callable[[], object]:
    from mtlzoo.datamodules import MovieLens

    return MovieLens(root, version="32m", prepared=prepared, download=False).prepare_data


class Case(NamedTuple):
    """A format and what reads it, ours first."""

    generate: Callable[[Path, int], Path]
    ways: Mapping[str, Way]


CASES: dict[str, Case] = {
    "KuaiRand": Case(
        formats.kuairand,
        {
            "mtlzoo": with_mtlzoo,
            "pandas": lambda path, _: with_pandas(path),
            "pandas usecols": lambda path, _: with_pandas(path, list(COLUMNS)),
        },
    ),
    "Tenrec": Case(formats.tenrec, {"mtlzoo": tenrec}),
    "AliCCP": Case(formats.aliccp, {"mtlzoo": aliccp, "joined first": aliccp_joined_first}),
    "MovieLens": Case(formats.movielens, {"mtlzoo": movielens}),
}


def measure(data: str, way: str, raw: Path, prepared: Path) -> None:
    """Prints seconds, seconds of all threads, and peak memory of this process as JSON."""
    run = CASES[data].ways[way](raw, prepared)
    start, worked = time.perf_counter(), time.process_time()
    run()
    seconds, worked = time.perf_counter() - start, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    print(json.dumps({"seconds": round(seconds, 2), "processor_seconds": round(worked, 2), "peak_gib": round(peak, 2)}))


def compare(data: str, rows: int, repeats: int, folder: Path) -> list[dict[str, Any]]:
    """Measures every way on that many rows, in turns, and takes the fastest run of each."""
    raw = CASES[data].generate(folder, rows)
    ways, prepared = CASES[data].ways, folder / "prepared"
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way in ways:
            command = [sys.executable, __file__, "--data", data, "--measure", way, str(raw), str(prepared)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            runs[way].append(json.loads(output))
            shutil.rmtree(prepared, ignore_errors=True)
    results = []
    for way in ways:
        best = min(runs[way], key=lambda run: run["seconds"])
        rate = rows / best["seconds"]
        seconds = [run["seconds"] for run in runs[way]]
        results.append({"way": way, "rows": rows, "rows_per_second": round(rate), **best, "all_seconds": seconds})
        print(f"{data} {way:16}{rows:12,}{best['seconds']:10.1f} s{rate:12,.0f} rows/s{best['peak_gib']:8.2f} GiB")
    return results


def benchmark(data: str, options: argparse.Namespace) -> None:
    """Measures one format and writes its result."""
    results = []
    load = os.getloadavg()[0]
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            results += compare(data, rows, options.repeats, Path(folder))
    rates = {way: [r["rows_per_second"] for r in results if r["way"] == way] for way in CASES[data].ways}
    peaks = [r["peak_gib"] for r in results if r["way"] == "mtlzoo"]
    ratios = {
        way: [round(a / b, 2) for a, b in zip(rates["mtlzoo"], theirs, strict=True)]
        for way, theirs in rates.items()
        if way != "mtlzoo"
    }
    rows = " ".join(map(str, options.rows))
    summary = {
        "command": f"python benchmarks/prepare.py --data {data} --rows {rows} --repeats {options.repeats}",
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
        "load_before": round(load, 2),
        "results": results,
        "speed_over": ratios,
        "peak_growth": round(peaks[-1] / peaks[0], 2),
    }
    print(f"{data}: speed over {ratios}; peak memory, last over first: {summary['peak_growth']}")
    RESULTS.mkdir(exist_ok=True)
    name = "prepare" if data == "KuaiRand" else f"prepare_{data.lower()}"
    (RESULTS / f"{name}.json").write_text(json.dumps(summary, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=CASES, nargs="+", default=list(CASES))
    parser.add_argument("--rows", type=int, nargs="+", default=[5_000_000, 20_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "RAW", "PREPARED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        way, raw, prepared = options.measure
        measure(options.data[0], way, Path(raw), Path(prepared))
        return
    for data in options.data:
        benchmark(data, options)


if __name__ == "__main__":
    main()
