"""AUC and GAUC of 20 million predictions: error, time and memory beside what others do.

    python benchmarks/metrics.py [--rows 20000000] [--users 1000000] [--loop_users 5000] [--threads 1]

Generated predictions: float32 probabilities sigmoid(normal - 2), labels drawn from them, 1 million users of very
different activity. Each way runs in a process of its own:

* `mtlzoo AUC`: ROC-AUC and PR-AUC from batches of 4,096
* `torchmetrics BinaryAUROC`: exact (no thresholds), from the same batches; ROC-AUC only
* `sklearn`: `roc_auc_score` and `average_precision_score` of the whole arrays, the reference of the errors
* `mtlzoo GAUC`: all three means from batches of 4,096
* `loop over users`: pandas groupby and `roc_auc_score` per user, as evaluators of recommenders do it, over the rows of
  `--loop_users` users drawn at random; its time is extrapolated to all rows, its error that of `mtlzoo GAUC` on the
  same rows

Seconds are wall time, beside them the CPU seconds (what one thread takes on a machine that nobody shares) and those
extrapolated to all rows; memory is the peak above what the process held after loading the predictions. Result:
benchmarks/results/metrics.json.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from report import show, write
from torch import Tensor

BATCH = 4096
COLUMNS = ("scores", "labels", "users")
Values = dict[str, float]


def predictions(rows: int, users: int) -> list[NDArray[Any]]:
    """Scores, labels and users."""
    random = np.random.default_rng(0)
    scores = 1 / (1 + np.exp(2 - random.standard_normal(rows, dtype=np.float32)))
    labels = (random.random(rows, dtype=np.float32) < scores).astype(np.float32)
    return [scores, labels, (random.random(rows) ** 2 * users).astype(np.int64)]


def batches(*columns: Any) -> Iterator[list[Tensor]]:
    tensors = [torch.as_tensor(column) for column in columns]
    for start in range(0, len(tensors[0]), BATCH):
        yield [tensor[start : start + BATCH] for tensor in tensors]


def auc(scores: Any, labels: Any, users: Any) -> Callable[[], Values]:
    from mtlzoo.metrics import AUC
    from mtlzoo.metrics.sketch import roc_auc

    def run() -> Values:
        metric = AUC().to(torch.as_tensor(scores).device)
        for batch in batches(scores, labels):
            metric.update(*batch)
        values = {key: float(value) for key, value in metric.compute().items()}
        return values | {"certificate": float(roc_auc(metric.sketch[0])[1])}

    return run


def auc_torchmetrics(scores: Any, labels: Any, users: Any) -> Callable[[], Values]:
    from torchmetrics.classification import BinaryAUROC

    def run() -> Values:
        metric = BinaryAUROC(validate_args=False).to(torch.as_tensor(scores).device)
        for batch in batches(scores, labels):
            metric.update(batch[0], batch[1].long())
        return {"auc": float(metric.compute())}

    return run


def auc_sklearn(scores: NDArray[Any], labels: NDArray[Any], users: NDArray[Any]) -> Callable[[], Values]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    return lambda: {"auc": roc_auc_score(labels, scores), "pr_auc": average_precision_score(labels, scores)}


def gauc(scores: Any, labels: Any, users: Any) -> Callable[[], Values]:
    from mtlzoo.metrics import GAUC

    def run() -> Values:
        metric = GAUC().to(torch.as_tensor(scores).device)
        for batch in batches(scores, labels, users):
            metric.update(*batch)
        return {key: float(value) for key, value in metric.compute().items()}

    return run


def gauc_loop(scores: NDArray[Any], labels: NDArray[Any], users: NDArray[Any]) -> Callable[[], Values]:
    import pandas as pd
    from sklearn.metrics import roc_auc_score

    def run() -> Values:
        aucs, impressions, positives = [], [], []
        for _, rows in pd.DataFrame({"score": scores, "label": labels, "user": users}).groupby("user"):
            if 0 < rows["label"].sum() < len(rows):
                aucs.append(roc_auc_score(rows["label"], rows["score"]))
                impressions.append(len(rows))
                positives.append(rows["label"].sum())
        return {
            "gauc_impressions": float(np.average(aucs, weights=impressions)),
            "gauc_positives": float(np.average(aucs, weights=positives)),
            "gauc_unweighted": float(np.mean(aucs)),
        }

    return run


WAYS = {
    "mtlzoo AUC": auc,
    "torchmetrics BinaryAUROC": auc_torchmetrics,
    "sklearn": auc_sklearn,
    "mtlzoo GAUC": gauc,
    "mtlzoo GAUC, some users": gauc,
    "loop over users, some users": gauc_loop,
}


def measure(way: str, folder: Path, loop_users: int, threads: int) -> None:
    """Runs one way and prints what it took as JSON."""
    torch.set_num_threads(threads)
    columns = [np.load(folder / f"{name}.npy") for name in COLUMNS]
    if way.endswith("some users"):
        users = columns[2]
        some = np.random.default_rng(1).permutation(int(users.max()) + 1)[:loop_users]
        kept = np.isin(users, some)
        columns = [column[kept] for column in columns]
    run = WAYS[way](*columns)
    run_small = WAYS[way](*[column[:10_000] for column in columns])
    run_small()  # imports and first calls
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts again from what is held now
    before = _mebibytes("VmRSS")
    wall, cpu = perf_counter(), process_time()
    values = run()
    wall, cpu = perf_counter() - wall, process_time() - cpu
    memory = _mebibytes("VmHWM") - before
    print(json.dumps({"rows": len(columns[0]), "seconds": wall, "cpu": cpu, "MiB": memory, "values": values}))


def _mebibytes(entry: str) -> float:
    return float(Path("/proc/self/status").read_text().partition(f"{entry}:")[2].split()[0]) / 1024


def rows_of(measured: dict[str, dict[str, Any]], rows: int) -> list[dict[str, Any]]:
    exact, loop = measured["sklearn"]["values"], measured["loop over users, some users"]
    table = []
    for way, result in measured.items():
        values = result["values"]
        reference = exact if "auc" in values else loop["values"] if "some users" in way else {}
        table.append(
            {
                "way": way,
                "rows": result["rows"],
                "seconds": result["seconds"],
                "CPU seconds": result["cpu"],
                "for all rows": result["cpu"] * rows / result["rows"],
                "MiB": result["MiB"],
                "AUC error": abs(values["auc"] - exact["auc"]) if "auc" in values else None,
                "certificate": values.get("certificate"),
                "PR-AUC error": abs(values["pr_auc"] - exact["pr_auc"]) if "pr_auc" in values else None,
                "GAUC error": max((abs(values[k] - v) for k, v in reference.items()), default=None)
                if "gauc_unweighted" in values
                else None,
            }
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--loop_users", type=int, default=5_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        measure(options.way, options.folder, options.loop_users, options.threads)
        return
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, column in zip(COLUMNS, predictions(options.rows, options.users), strict=True):
            np.save(Path(folder, f"{name}.npy"), column)
        for way in WAYS:
            command = [sys.executable, __file__, "--way", way, "--folder", folder]
            command += ["--loop_users", str(options.loop_users), "--threads", str(options.threads)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            measured[way] = json.loads(output.splitlines()[-1])
    table = rows_of(measured, options.rows)
    show(f"AUC and GAUC of {options.rows:,} predictions", table)
    plain = {key: value for key, value in vars(options).items() if key not in ("way", "folder")}
    write("metrics", plain, [row | {"values": measured[row["way"]]["values"]} for row in table])


if __name__ == "__main__":
    main()
