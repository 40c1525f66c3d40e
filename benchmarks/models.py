"""Every model on the same data, tuned over the same grid: test AUC of three seeds.

    python benchmarks/models.py --kuairand DIR --census DIR --out RUNS [--jobs 2] [--sets kuairand_3 ...]

Three comparisons: KuaiRand-Pure with three tasks, CensusIncome, KuaiRand-Pure with eight tasks. Every model has the
sizes of `MODELS`, the options of its comparison in `SETS` and the learning rate of `GRID` at which seed 0 validates
best (mean AUC); with that rate come seeds 1 and 2. The rate of three tasks on KuaiRand is kept for eight. Test is run
once per seed of the chosen rate. All runs are `mtlzoo fit` and `mtlzoo test` of the command line, in a folder of their
own under RUNS; a run that has its results there is not repeated, so an interrupted benchmark goes on where it was.

Result: benchmarks/results/models.json, written after each run; the tables are in docs/results.md.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from report import show, write

GRID = (1e-3, 2e-3)
SEEDS = (0, 1, 2)
UNITS = "[128,64]"
EXPERTS = ["--model.expert_units", UNITS, "--model.tower_units", "[]"]
BOTTOM = ["--model.bottom_units", UNITS, "--model.tower_units", "[]"]
MULTI = ["--model.embedding", "multi"]
PER_TASK = ["--model.task_experts", "1", "--model.shared_experts", "1", *EXPERTS]
MODELS: dict[str, tuple[str, list[str]]] = {
    "SingleTask": ("SingleTask", ["--model.units", UNITS]),
    "SharedBottom": ("SharedBottom", BOTTOM),
    "OMoE": ("OMoE", ["--model.experts", "4", *EXPERTS]),
    "MMoE": ("MMoE", ["--model.experts", "4", *EXPERTS]),
    "PLE": ("PLE", PER_TASK),
    "STEMNet": ("STEMNet", PER_TASK),
    "AITM": ("AITM", BOTTOM),
    "CrossStitch": ("CrossStitch", BOTTOM),
    "SoftSharing": ("SoftSharing", BOTTOM),
    "AdaTT": ("AdaTT", PER_TASK),
    "PEPNet": ("PEPNet", ["--model.tower_units", UNITS, "--model.gate_units", "32"]),
    "MMoE, multi": ("MMoE", ["--model.experts", "4", *EXPERTS, *MULTI]),
    "PLE, multi": ("PLE", [*PER_TASK, *MULTI]),
    "SharedBottom, multi": ("SharedBottom", [*BOTTOM, *MULTI]),
    "OMoE, multi": ("OMoE", ["--model.experts", "4", *EXPERTS, *MULTI]),
}
EMBEDDED = {
    "KuaiRand": ["--model.embedding_dim", "32", "--model.table_weight_decay", "8e-3"],
    "CensusIncome": ["--model.embedding_dim", "8"],
}
GATED = {"KuaiRand": ["--model.domain", "[tab]"], "CensusIncome": ["--model.prior", "[age,sex]"]}
THREE = "[is_click,long_view,is_like]"
EIGHT = "[is_click,long_view,is_like,is_profile_enter,is_comment,is_follow,is_forward,is_hate]"
KUAIRAND = ["--data", "KuaiRand", "--data.version", "pure", "--data.past", "true", "--data.batch_size", "1024"]
SETS: dict[str, tuple[str, list[str]]] = {
    "kuairand_3": ("KuaiRand", [*KUAIRAND, "--data.tasks", THREE]),
    "census": ("CensusIncome", ["--data", "CensusIncome", "--data.batch_size", "512"]),
    "kuairand_8": ("KuaiRand", [*KUAIRAND, "--data.tasks", EIGHT]),
}
TRAINING = [
    *("--data.eval_batch_size", "8192", "--trainer.max_epochs", "8", "--model.dropout", "0.1"),
    *("--trainer.callbacks+=EMAWeightAveraging", "--trainer.callbacks.decay", "0.995", "--trainer.accelerator", "cpu"),
]


@dataclass(frozen=True)
class Run:
    """One training and where it lies."""

    set: str
    model: str
    lr: float
    seed: int
    out: Path
    root: str

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.out / self.set / self.model.replace(", ", "_") / f"lr{self.lr}-s{self.seed}"

    def record(self, name: str) -> dict[str, Any] | None:
        """fit.json or results.json of the run, where it has one."""
        found = next(self.folder.glob(f"*/version_*/{name}"), None)
        return json.loads(found.read_text()) if found else None

    def fit(self) -> "Run":
        """Trains, if that was not done."""
        if self.record("fit.json") is None:
            data, options = SETS[self.set]
            name, sizes = MODELS[self.model]
            gates = GATED[data] if name == "PEPNet" else []
            seeds = ["--seed_everything", str(self.seed), "--data.shuffle_seed", str(self.seed)]
            place = ["--data.root", self.root, "--trainer.default_root_dir", str(self.folder)]
            model = ["--model", name, "--model.lr", str(self.lr), *EMBEDDED[data], *sizes, *gates]
            self.command(["fit", *model, *options, *TRAINING, *seeds, *place])
        return self

    def test(self) -> "Run":
        """Tests the best checkpoint, if that was not done."""
        if self.record("results.json") is None:
            config = next(self.folder.glob("*/version_*/config.yaml"))
            self.command(["test", "-c", str(config), "--ckpt_path", "best"])
            (config.parent / "checkpoints" / "last.ckpt").unlink(missing_ok=True)
        return self

    def command(self, arguments: list[str]) -> None:
        """One command of the command line, on one thread."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{arguments[0]}.log").open("w") as log:
            subprocess.run(
                [sys.executable, "-m", "mtlzoo", *arguments],
                check=True,
                stdout=log,
                stderr=log,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )

    def validated(self) -> float:
        """Mean AUC of the tasks on validation, at the best epoch."""
        record = self.record("fit.json")
        return -math.inf if record is None else float(record["best"])

    def row(self) -> dict[str, Any]:
        """What the result file says of the run."""
        record = self.record("results.json")
        metrics = {} if record is None else record["metrics"]
        auc = {n.split("/")[1]: round(v, 5) for n, v in metrics.items() if n.endswith("/auc")}
        about = {"set": self.set, "model": self.model, "lr": self.lr, "seed": self.seed}
        return about | {"validation": round(self.validated(), 5), "test_auc": auc or None}


def chosen(runs: Iterable[Run]) -> Run:
    """The run that validates best."""
    return max(runs, key=lambda run: run.validated())


def table(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds of a comparison, the mean over tasks last."""
    lines = []
    for model in MODELS:
        tested = [row for row in rows if row["set"] == name and row["model"] == model and row["test_auc"]]
        if tested:
            scores = {task: [row["test_auc"][task] for row in tested] for task in tested[0]["test_auc"]}
            scores["mean"] = [statistics.fmean(row["test_auc"].values()) for row in tested]
            cells = {
                task: f"{statistics.fmean(s):.4f} ± {statistics.stdev(s) if len(s) > 1 else 0:.4f}"
                for task, s in scores.items()
            }
            lines.append({"model": model, "lr": str(tested[0]["lr"]), "seeds": str(len(tested)), **cells})
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kuairand", required=True, help="Folder of KuaiRand.")
    parser.add_argument("--census", required=True, help="Folder of CensusIncome.")
    parser.add_argument("--out", type=Path, required=True, help="Folder of the runs.")
    parser.add_argument("--jobs", type=int, default=1, help="Runs at a time.")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    options = parser.parse_args()
    done: dict[Run, None] = {}
    lock = Lock()

    def note(run: Run) -> Run:
        with lock:
            done[run] = None
            rows = sorted((r.row() for r in done), key=lambda r: (r["set"], r["model"], r["lr"], r["seed"]))
            write("models", {"grid": GRID, "models": MODELS, "sets": SETS, "training": TRAINING}, rows)
        return run

    def new(name: str, model: str, lr: float, seed: int) -> Run:
        root = options.census if name == "census" else options.kuairand
        return Run(name, model, lr, seed, options.out.resolve(), root)

    with ThreadPoolExecutor(options.jobs) as pool:
        for name in options.sets:
            tuned = "kuairand_3" if name == "kuairand_8" else name
            grid = [new(tuned, model, lr, 0) for model in options.models for lr in GRID]
            for _ in pool.map(lambda run: note(run.fit()), grid):
                pass
            best = {model: chosen(run for run in grid if run.model == model).lr for model in options.models}
            finals = [new(name, model, best[model], seed) for seed in SEEDS for model in options.models]
            for run in pool.map(lambda run: note(run.fit().test()), finals):
                print(run.row(), flush=True)
    rows = [run.row() for run in done]
    for name in options.sets:
        show(name, table(rows, name))


if __name__ == "__main__":
    main()
