"""How long an exported model of 100 features takes for 1, 32 and 1,000 rows, in Python and behind HTTP.

    python benchmarks/serving.py [--against TREE] [--requests 160]

The table is made up: 66 columns of whole numbers, 20 of texts, 10 of quantities, 4 of lists in text; MMoE with two
tasks, trained for a moment and exported as ONNX. *predict* is `ServedModel.predict` of a list of dictionaries, *encode*
the part of it before the network: medians. TREE is a folder with another version as ``mtlzoo/``; both are then asked in
turn, three times, and *ratio* is how many times the processor's time that one takes. *HTTP* is `examples/serve.py` on
loopback, asked by 8 threads of this process, which shares its cores; *CPU ms* is what the server used per request
and what a machine that others use tells best.

Expected before it was measured: one row takes a third of what it took when `RowEncoder` was new, and under 10 ms;
through HTTP some 100 requests/s on 2 cores. Measured first, on a busy machine: 41 % (ratio 2.4), 21 ms of the
processor; then, calm and with joined texts split faster: 7.6 ms, and 79 requests/s from 8 clients on the same cores.
Result: benchmarks/results/serving.json.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
import psutil
from report import show, write

SIZES, TURNS, CLIENTS = (1, 32, 1000), 3, 8
EXAMPLE = Path(__file__).parents[1] / "examples/serve.py"


def table(rows: int) -> pl.DataFrame:
    draw = np.random.default_rng(0)
    columns: dict[str, Any] = {f"id{n}": draw.integers(0, 4 << n % 10, rows) for n in range(66)}
    columns |= {f"text{n}": [f"name {x}" for x in draw.integers(0, 4 << n % 10, rows)] for n in range(20)}
    columns |= {f"number{n}": draw.lognormal(2, 1, rows) for n in range(10)}
    columns |= {f"list{n}": [",".join(map(str, x)) for x in draw.integers(0, 50, (rows, 3))] for n in range(4)}
    return pl.DataFrame(columns | {task: draw.integers(0, 2, rows) for task in ("click", "like")})


def exported(folder: Path) -> Path:
    """A model of the table that was trained for a moment."""
    import lightning

    from mtlzoo import MMoE
    from mtlzoo.datamodules import TabularDataModule

    kinds = {"id": "categorical", "text": "categorical", "number": "numeric", "list": "sequence"}
    frame = table(20_000)
    features = {name: kinds[re.sub(r"\d+$", "", name)] for name in frame.columns[:-2]}
    labels = {"click": "binary", "like": "binary"}
    data = TabularDataModule.from_frame(frame, features=features, labels=labels, prepared=folder / "prepared")
    data.prepare_data()
    model = MMoE(data.schema)
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = lightning.Trainer(accelerator="cpu", max_steps=5, limit_val_batches=0, default_root_dir=folder, **quiet)
    trainer.fit(model, datamodule=data)
    model.save_pretrained(folder / "exported", formats=["onnx"])
    return folder / "exported"


def measure(folder: Path) -> dict[str, tuple[float, float]]:
    """Milliseconds of a call, and those of the processor, by what and how many rows."""
    import onnxruntime

    from mtlzoo.serving import load

    session = onnxruntime.SessionOptions()
    session.intra_op_num_threads = 1
    model, frame = load(folder, sess_options=session), table(max(SIZES)).drop("click", "like")
    found = {}
    for size in SIZES:
        part = frame[:size]
        rows = part.to_dicts()
        for name, call in (("predict", lambda r=rows: model.predict(r)), ("encode", lambda p=part: model._encoder(p))):
            call()
            times = []
            for _ in range(20 if size < 1000 else 4):
                started, used = time.perf_counter(), time.process_time()
                call()
                times.append((time.perf_counter() - started, time.process_time() - used))
            passed, worked = (1000 * median(each) for each in zip(*times, strict=True))
            found[f"{name} {size}"] = passed, worked
    return found


def in_turn(folder: Path, against: str | None) -> list[dict[str, Any]]:
    """This version and the other, each in processes of its own."""
    trees: dict[str, dict[str, str]] = {"here": {}} | ({"there": {"PYTHONPATH": against}} if against else {})
    runs: dict[str, list[dict[str, tuple[float, float]]]] = {name: [] for name in trees}
    command = [sys.executable, __file__, "--measure", str(folder)]
    for _ in range(TURNS):
        for name, extra in trees.items():
            runs[name].append(json.loads(subprocess.check_output(command, env={**os.environ, **extra}, text=True)))
    rows = []
    for what in runs["here"][0]:
        call, size = what.split()
        row: dict[str, Any] = {"call": call, "rows": int(size)}
        for name in trees:
            row[f"ms {name}"], row[f"CPU ms {name}"] = (median(run[what][n] for run in runs[name]) for n in (0, 1))
        if against:
            row["ratio"] = median(b[what][1] / a[what][1] for a, b in zip(*runs.values(), strict=True))
        rows.append(row)
    return rows


@contextmanager
def server(folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    """Port and process of the example while it runs."""
    command = [sys.executable, str(EXAMPLE), str(folder), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        try:
            found = next(filter(None, (re.search(r"http://127\.0\.0\.1:(\d+)", line) for line in process.stderr)))
            yield int(found[1]), psutil.Process(process.pid)
        finally:
            process.terminate()


def over_http(port: int, process: psutil.Process, requests: int) -> list[dict[str, Any]]:
    """Latencies, rows per second, and what the processor did for a request."""
    frame, rows = table(max(SIZES)).drop("click", "like"), []

    def ask(body: str) -> float:
        started = time.perf_counter()
        with closing(HTTPConnection("127.0.0.1", port)) as connection:
            connection.request("POST", "/predict", body)
            response = connection.getresponse()
            response.read()
        assert response.status == 200
        return 1000 * (time.perf_counter() - started)

    for size in SIZES:
        body, number = json.dumps(frame[:size].to_dicts()), requests if size < 1000 else max(requests // 8, 8)
        with ThreadPoolExecutor(CLIENTS) as pool:
            [*pool.map(ask, [body] * CLIENTS)]
            started, before = time.perf_counter(), process.cpu_times()
            times = [*pool.map(ask, [body] * number)]
            seconds, after = time.perf_counter() - started, process.cpu_times()
        used = after.user + after.system - before.user - before.system
        p50, p99 = np.quantile(times, [0.5, 0.99])
        row = {"rows": size, "clients": CLIENTS, "p50 ms": float(p50), "p99 ms": float(p99)}
        row |= {"requests/s": number / seconds, "rows/s": number * size / seconds}
        rows.append(row | {"CPU ms": 1000 * used / number, "rows/CPU s": number * size / used})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", help="A folder with another version as mtlzoo/.")
    parser.add_argument("--requests", type=int, default=160)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = exported(Path(place))
        calls = in_turn(folder, options.against)
        show("In Python", calls)
        with server(folder) as (port, process):
            http = over_http(port, process, options.requests)
        show("HTTP", http)
    write("serving", {"requests": options.requests, "against": bool(options.against)}, calls, http=http)


if __name__ == "__main__":
    main()
