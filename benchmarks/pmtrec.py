"""PMTRec beside the plain sum, BPR alone and PCGrad, on real data, every method tuned over the same grid.

    python benchmarks/pmtrec.py --out RUNS --office DIR --lastfm DIR --ciao DIR [--seeds 0 1 2 3 4] [--jobs 2]

Matrix factorisation, 32 columns, batches of 2,048, Adam at .005, stopped when validation has not improved for ten
epochs. Every method takes the decay of the table of `DECAYS` (weights that sum to 1 with Adam *are* a larger decay),
PMTRec besides its own `TAUS` and `ALPHAS`, at which seed 0 validates best (recall at 20); other seeds follow with that.
Test is run on those alone. V1 has no task focusing (alpha = 1), V2 no magnitude balancing (tau = 1), as in the paper.

All runs are `mtlzoo fit` and `mtlzoo test` of the command line, in a folder of their own under RUNS; a run that has its
results there is not repeated. Results: benchmarks/results/pmtrec_*.json; tables: docs/models/pmtrec.md.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from report import show, write
from runs import Run, mean_and_deviation

DECAYS = ("1e-5", "1e-4", "1e-3", "3e-3")
TAUS = ("1e-4", "1e-2")
ALPHAS = ("1", "1.04")
METRICS = ("recall@5", "recall@20", "recall@40", "ndcg@5", "ndcg@20", "ndcg@40")
DATA: dict[str, list[str]] = {
    "office": ["--data", "AmazonReviews", "--data.split", "given"],
    "lastfm": ["--data", "LastFM"],
    "ciao": ["--data", "Ciao"],
}
TASKS = {
    "office": ("recommend", "alignment", "rating"),
    "lastfm": ("recommend", "friends", "tags"),
    "ciao": ("recommend", "trust", "category"),
}
TRAINING = [
    *("--model", "PMTRec", "--model.lr", "5e-3", "--data.batch_size", "2048", "--trainer.accelerator", "cpu"),
]
SURGERY = ["--trainer.callbacks+=GradientSurgery"]
Options = dict[str, str]
Values = Sequence[str]


def methods(decays: Values = DECAYS, taus: Values = TAUS, alphas: Values = ALPHAS) -> dict[str, list[Options]]:
    """The grid of each method."""

    def grid(**values: Values) -> list[Options]:
        return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]

    return {
        "BPR": grid(decay=decays),
        "EW": grid(decay=decays),
        "PCGrad": grid(decay=decays),
        "PMTRec": grid(decay=decays, tau=taus, alpha=alphas),
        "V1": grid(decay=decays, tau=taus, alpha=("1",)),
        "V2": grid(decay=decays, tau=("1",), alpha=alphas[-1:]),
    }


def arguments(method: str, name: str, root: str, options: Options, limits: Sequence[str]) -> Iterator[str]:
    """Of `mtlzoo fit`."""
    tasks = TASKS[name][:1] if method == "BPR" else TASKS[name]
    yield from [*DATA[name], "--data.root", root, "--data.tasks", f"[{','.join(tasks)}]", *TRAINING, *limits]
    yield from ["--model.table_weight_decay", options["decay"]]
    if method == "PCGrad":
        yield from [*SURGERY, "--trainer.callbacks.rule=PCGrad"]
    if "tau" in options:
        yield from [*SURGERY, "--trainer.callbacks.level", "row", "--trainer.callbacks.rule=PMTRecRule"]
        yield from ["--trainer.callbacks.rule.main_task", "recommend"]
        yield from ["--trainer.callbacks.rule.tau", options["tau"], "--trainer.callbacks.rule.alpha", options["alpha"]]


def new(out: Path, name: str, root: str, method: str, options: Options, seed: int, limits: Sequence[str]) -> Run:
    """A run; those of PMTRec, V1 and V2 with equal options are one."""
    group = "PMTRec" if "tau" in options else method
    folder = "-".join(f"{key}{value}" for key, value in options.items())
    return Run(out / name / group / f"{folder}-s{seed}", tuple(arguments(method, name, root, options, limits)), seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="Folder of the runs.")
    for name in DATA:
        parser.add_argument(f"--{name}", help=f"Folder of the files; without it {name} is left out.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="Of the chosen options.")
    parser.add_argument("--jobs", type=int, default=1, help="Runs at a time.")
    parser.add_argument("--methods", nargs="+", default=list(methods()), choices=list(methods()))
    parser.add_argument("--decays", nargs="+", default=list(DECAYS))
    parser.add_argument("--taus", nargs="+", default=list(TAUS))
    parser.add_argument("--alphas", nargs="+", default=list(ALPHAS))
    parser.add_argument("--epochs", default="200", help="At most.")
    parser.add_argument("--patience", default="10", help="Epochs without improvement.")
    asked = parser.parse_args()
    all_grids = methods(asked.decays, asked.taus, asked.alphas)
    limits = ("--patience", asked.patience, "--trainer.max_epochs", asked.epochs)
    out = asked.out.resolve()
    rows: list[dict[str, Any]] = []
    with ThreadPoolExecutor(asked.jobs) as pool:
        for name in [name for name in DATA if getattr(asked, name)]:
            root = getattr(asked, name)
            grids = {m: [(o, new(out, name, root, m, o, 0, limits)) for o in all_grids[m]] for m in asked.methods}
            list(pool.map(Run.fit, dict.fromkeys(run for grid in grids.values() for _, run in grid)))
            chosen = {method: max(grid, key=lambda pair: pair[1].validated())[0] for method, grid in grids.items()}
            for seed in asked.seeds:
                runs = {method: new(out, name, root, method, chosen[method], seed, limits) for method in asked.methods}
                for step in (Run.fit, Run.test):
                    list(pool.map(step, dict.fromkeys(runs.values())))
                for method, run in runs.items():
                    metrics = {key: round(run.metrics()[f"test/recommend/{key}"], 5) for key in METRICS}
                    about = {"data": name, "method": method, "options": chosen[method], "seed": seed}
                    rows.append(about | {"validation": round(run.validated(), 5), "test": metrics})
            tried = {
                method: [{**options, "validation": round(run.validated(), 5)} for options, run in grid]
                for method, grid in grids.items()
            }
            about = {"tasks": TASKS[name], "training": [*TRAINING, *limits], "seeds": asked.seeds}
            write(f"pmtrec_{name}", about, [row for row in rows if row["data"] == name], grid=tried)
            show(name, [summary(rows, name, method) for method in asked.methods])


def summary(rows: list[dict[str, Any]], name: str, method: str) -> dict[str, Any]:
    """Mean and deviation over seeds."""
    found = [row for row in rows if row["data"] == name and row["method"] == method]
    options = " ".join(f"{key} {value}" for key, value in found[0]["options"].items())
    return {"method": method, "options": options} | {
        key: mean_and_deviation(row["test"][key] for row in found) for key in METRICS
    }


if __name__ == "__main__":
    main()
