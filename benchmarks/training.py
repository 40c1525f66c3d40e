"""Rows per second of `mtlzoo fit`, torch-rechub and DeepCTR-Torch, each beside a bare torch loop in the same run.

    pip install --no-deps --target /tmp/peers torch-rechub==0.8.0 deepctr-torch==0.2.9     # once
    python benchmarks/training.py --peers /tmp/peers [--cases light large] [--folder /tmp/mtlzoo-benchmark]

The peers lie in a folder of their own, on the path of the processes that measure them alone, and use the torch of this
environment (scikit-learn is needed: the extra `bench`). Without --peers only `mtlzoo fit` is measured.

Every trainer is stopped after each few steps for as many steps of the bare loop, so that both see the same machine;
numbers are medians over these pairs, the first left out. See benchmarks/cases.py for what is trained.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from cases import CASES
from interleave import busy
from report import show, write

TARGETS = {"heavy": {"ratio": 0.95, "loading": 0.03}, "light": {"ratio": 0.80, "loading": 0.15}, "large": {}}
TIMES = 10.0
"""Times that `mtlzoo fit` is to be as fast as a peer on the large case."""


def measure(case: str, trainer: str, folder: Path, peers: Path | None, words: list[str]) -> dict[str, Any]:
    """One trainer in a process of its own."""
    result = folder / "measured.json"
    result.unlink(missing_ok=True)
    paths = [str(path) for path in (os.environ.get("PYTHONPATH"), peers) if path]
    log = folder / f"{case}-{trainer}.log"
    with log.open("w") as output:
        subprocess.run(
            [sys.executable, __file__, "--one", case, trainer, "--folder", str(folder), *words],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if not result.is_file():
        raise SystemExit(f"{trainer} failed on {case}:\n{log.read_text()[-2000:]}")
    measured: dict[str, Any] = json.loads(result.read_text())
    return {"case": case, "trainer": trainer, **measured}


def judge(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was to be reached, and whether it was."""
    ours = {row["case"]: row for row in rows if row["trainer"] == "mtlzoo"}
    verdicts: list[dict[str, Any]] = []
    for case, row in ours.items():
        targets = TARGETS[case]
        for key, target in targets.items():
            reached = row[key] >= target if key == "ratio" else row[key] <= target
            verdicts.append(
                {"case": case, "what": key, "target": target, "measured": row[key], "reached": str(reached)}
            )
        for other in rows:
            if other["case"] == case and other is not row:
                target, times = TIMES if case == "large" else 1.0, row["ratio"] / other["ratio"]
                what = f"times {other['trainer']}"
                verdicts.append(
                    {"case": case, "what": what, "target": target, "measured": times, "reached": str(times >= target)}
                )
    return verdicts


def one(case: str, trainer: str, folder: Path) -> None:
    """What the process of `measure` does."""
    from trainers import TRAINERS

    torch.manual_seed(0)
    pairs = TRAINERS[trainer](CASES[case], folder)
    (folder / "measured.json").write_text(json.dumps(pairs.summary(CASES[case].batch)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--peers", type=Path, help="folder with torch-rechub and DeepCTR-Torch")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/mtlzoo-benchmark"), help="generated data")
    parser.add_argument("--busy", action="store_true", help="one thread and its CPU time, for a shared machine")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    busy(options.busy)
    if options.one:
        case, trainer = options.one
        one(case, trainer, options.folder)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    trainers = ["mtlzoo", *(["torch-rechub", "DeepCTR-Torch"] if options.peers else [])]
    words = ["--busy"] if options.busy else []
    rows = [
        measure(case, trainer, options.folder, options.peers, words) for case in options.cases for trainer in trainers
    ]
    show("Training, batch 4096; ratio: to the bare loop", rows)
    verdicts = judge(rows)
    show("Targets", verdicts)
    write("training", {"cases": options.cases, "busy": options.busy}, rows, targets=verdicts)


if __name__ == "__main__":
    main()
