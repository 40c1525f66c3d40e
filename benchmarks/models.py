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
import statistics
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from report import show, write
from runs import Run, mean_and_deviation

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


def row(run: Run, name: str, model: str, lr: float) -> dict[str, Any]:
    """What the result file says of a run."""
    auc = {n.split("/")[1]: round(v, 5) for n, v in run.metrics().items() if n.endswith("/auc")}
    about = {"set": name, "model": model, "lr": lr, "seed": run.seed}
    return about | {"validation": round(run.validated(), 5), "test_auc": auc or None}


def new(out: Path, root: str, name: str, model: str, lr: float, seed: int) -> Run:
    """A run."""
    data, options = SETS[name]
    kind, sizes = MODELS[model]
    gates = GATED[data] if kind == "PEPNet" else []
    network = ["--model", kind, "--model.lr", str(lr), *EMBEDDED[data], *sizes, *gates]
    folder = out / name / model.replace(", ", "_") / f"lr{lr}-s{seed}"
    return Run(folder, (*network, *options, *TRAINING, "--data.root", root), seed)


def table(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds of a comparison, the mean over tasks last."""
    lines = []
    for model in MODELS:
        tested = [row for row in rows if row["set"] == name and row["model"] == model and row["test_auc"]]
        if tested:
            scores = {task: [row["test_auc"][task] for row in tested] for task in tested[0]["test_auc"]}
            scores["mean"] = [statistics.fmean(row["test_auc"].values()) for row in tested]
            cells = {task: mean_and_deviation(each) for task, each in scores.items()}
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
    done: dict[tuple[str, str, float, int], Run] = {}
    out, lock = options.out.resolve(), Lock()

    def finish(key: tuple[str, str, float, int], *, test: bool) -> Run:
        run = new(out, options.census if key[0] == "census" else options.kuairand, *key)
        run.fit()
        if test:
            run.test()
        with lock:
            done[key] = run
            rows = [row(run, *key[:3]) for key, run in sorted(done.items())]
            write("models", {"grid": GRID, "models": MODELS, "sets": SETS, "training": TRAINING}, rows)
        return run

    with ThreadPoolExecutor(options.jobs) as pool:
        for name in options.sets:
            tuned = "kuairand_3" if name == "kuairand_8" else name
            grid = [(tuned, model, lr, 0) for model in options.models for lr in GRID]
            tried = dict(zip(grid, pool.map(partial(finish, test=False), grid), strict=True))
            best = {m: max(GRID, key=lambda lr, m=m: tried[tuned, m, lr, 0].validated()) for m in options.models}  # type: ignore[misc]
            finals = [(name, model, best[model], seed) for seed in SEEDS for model in options.models]
            for run in pool.map(partial(finish, test=True), finals):
                print(run.folder, run.validated(), flush=True)
    rows = [row(run, *key[:3]) for key, run in sorted(done.items())]
    for name in options.sets:
        show(name, table(rows, name))


if __name__ == "__main__":
    main()
