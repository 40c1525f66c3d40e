"""MovieLens-1M with three tasks: the weights of the losses by validation, then test beside single-task references.

    python benchmarks/movielens.py --root DIR --out RUNS

MMoE of configs/experiment/movielens_1m_mmoe.yaml, random split 80/10/10 of the data's default seed. Seed 0 is trained
with every pair of weights in `GRID` (rating has 1). Taken are those with the lowest RMSE of validation among the ones
whose AUC of interaction and F1 of genres are within `NEAR` of the best, and with them come seeds 1 and 2. References:
one network per task with the same options on the same rows (`SingleTask`), and the same on ratings alone, without rows
that were not rated and with the genres as a feature. Test is run once per seed of these three, with `ColdStartReport`.
Runs that have their results are not repeated.

Result: benchmarks/results/movielens.json, written after each run; with all three `mtlzoo compare-cold-start`'s table.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import polars as pl
from report import show, write
from runs import Run
from trivial import trivial

from mtlzoo.analysis.cold_start import side_by_side
from mtlzoo.analysis.cold_start_table import read_report
from mtlzoo.datamodules import MovieLens

CONFIG = "configs/experiment/movielens_1m_mmoe.yaml"
GRID = ((1.0, 1.0), (0.3, 1.0), (1.0, 0.3), (0.3, 0.3), (0.1, 0.1))
"""Weights of genres and interaction."""
NEAR = 0.005
"""How far AUC of interaction and F1 of genres may be below the best of the grid."""
SEEDS = (0, 1, 2)
SINGLE = [
    *("--model", "SingleTask", "--model.embedding_dim", "32", "--model.units", "[128,64]", "--model.dropout", "0.1"),
    *("--model.lr", "2e-3", "--model.schedule", "cosine", "--model.table_weight_decay", "1e-4"),
]
ALONE = [  # the same without the weights of the losses, as there is but one
    *("--data", "MovieLens", "--data.version", "1m", "--data.tasks", "[rating]", "--data.batch_size", "4096"),
    *("--data.eval_batch_size", "16384", "--trainer.max_epochs", "6"),
    *("--trainer.callbacks+=EMAWeightAveraging", "--trainer.callbacks.decay", "0.99"),
]
REPORT = ["--trainer.callbacks+=ColdStartReport"]
METRICS = ("val/rating/rmse", "val/genres/f1_micro", "val/genres/accuracy", "val/interaction/auc")


def weights(*values: float) -> list[str]:
    """Options that set the weights of the losses, of the last callback in the config."""
    return ["--trainer.callbacks.rule.weights", f"[{','.join(map(str, values))}]"]


def validation(run: Run) -> dict[str, float]:
    """Metrics of validation at the epoch whose checkpoint is tested."""
    table = pl.read_csv(next(run.folder.glob("*/version_*/metrics.csv")), infer_schema_length=None)
    monitor = next(name for name in ("val/auc_mean", "val/rmse_mean") if name in table.columns)
    best = table.drop_nulls(monitor).sort(monitor, descending=monitor == "val/auc_mean").row(0, named=True)
    return {name: round(best[name], 5) for name in METRICS if name in best}


def tested(run: Run) -> dict[str, Any]:
    """What the result file says of a run that was tested."""
    wanted = [name.replace("val/", "test/") for name in METRICS]
    record = run.record("results.json") or {}
    found = {name: round(value, 5) for name, value in run.metrics().items() if name in wanted}
    about = {
        name: record.get(name) for name in ("model", "epoch", "parameters", "rows", "data_fingerprint", "versions")
    }
    words = list(run.arguments)
    words[words.index("--data.root") + 1] = "ROOT"
    command = " ".join(["mtlzoo fit", *words, f"--seed_everything {run.seed}"])
    return {"command": command, "seed": run.seed, "validation": validation(run), "test": found, **about}


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Means and deviations over seeds of the test metrics."""
    metrics = [run.metrics() for run in runs]
    wanted = [name.replace("val/", "test/") for name in METRICS]
    return {
        name: {"mean": round(fmean(values), 5), "std": round(stdev(values), 5) if len(values) > 1 else None}
        for name in wanted
        if (values := [each[name] for each in metrics if name in each])
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--root", required=True, help="Folder of MovieLens-1M.")
    parser.add_argument("--out", type=Path, required=True, help="Folder of the runs.")
    parser.add_argument("--references", type=int, default=len(SEEDS), help="Seeds of the references.")
    options = parser.parse_args()
    out, data = options.out.resolve(), MovieLens(options.root)
    config = ["-c", CONFIG, "--data.root", options.root]
    trials: list[dict[str, Any]] = []
    found: dict[str, Any] = {"baselines": trivial(data), "trials": trials}

    def save(runs: Sequence[Run] = ()) -> None:
        write("movielens", {"config": CONFIG, "grid": GRID, "seeds": SEEDS}, [tested(run) for run in runs], **found)

    for pair in GRID:
        run = Run(out / f"w{pair[0]}_{pair[1]}-s0", (*config, *weights(1.0, *pair), *REPORT), 0)
        run.fit()
        trials.append({"weights": [1.0, *pair], **validation(run)})
        save()
    show("Validation by the weights of the losses", [{**row, "weights": str(row["weights"])} for row in trials])
    near = [row for row in trials if all(row[name] > max(r[name] for r in trials) - NEAR for name in METRICS[1::2])]
    taken = min(near, key=lambda row: row["val/rating/rmse"])
    chosen = taken["weights"][1:]
    found["chosen"] = {**taken, "by": f"lowest RMSE of those with AUC and F1 within {NEAR} of the best"}
    kinds = {
        "MMoE": (f"w{chosen[0]}_{chosen[1]}", [*config, *weights(1.0, *chosen), *REPORT]),
        "SingleTask": ("single", [*config, *weights(1, 1, 1), *SINGLE, *REPORT]),
        "SingleTask, ratings alone": ("rating", [*ALONE, "--data.root", options.root, *SINGLE, *REPORT]),
    }
    done: list[Run] = []
    found["summary"], reports = {}, {}
    for kind, (folder, arguments) in kinds.items():
        seeds = SEEDS if kind == "MMoE" else SEEDS[: options.references]
        runs = [Run(out / f"{folder}-s{seed}", tuple(arguments), seed) for seed in seeds]
        for run in runs:
            run.fit()
            run.test()
            done.append(run)
            save(done)
        found["summary"][kind] = summary(runs)
        reports[kind] = [read_report(next(run.folder.glob("*/version_*/cold_start.csv")).parent) for run in runs]
        found["cold_start"] = [_rounded(row) for row in side_by_side(reports)]
        save(done)
    for kind, means in found["summary"].items():
        show(kind, [{"metric": name, **value} for name, value in means.items()])


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {
        key: (None if value != value else round(value, 5)) if isinstance(value, float) else value
        for key, value in row.items()
    }


if __name__ == "__main__":
    main()
