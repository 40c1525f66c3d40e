"""AUC on 2,000 draws of the users, of 15 models on 8 tasks of 57 thousand rows: how long, and beside the plain loop.

    python benchmarks/resampling.py [--seeds 1] [--loop_draws 20] [--threads 2]

Made-up logits of 1,000 users with uneven numbers of rows; one to 30 percent positives by task. *Here* is what a
leaderboard does: `draws_of_auc` for every model, task and seed, on as many threads. *Loop* is `roc_auc_score` of
scikit-learn with a weight per row, once per draw, of one model and task; its time for all is extrapolated from
`--loop_draws`, and its values are compared. Expected: under 2 minutes of wall time on 2 cores that nobody shares; CPU
seconds are what a shared machine tells. Result: benchmarks/results/resampling.json.
"""

import argparse
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from report import show, write
from sklearn.metrics import roc_auc_score

from mtlzoo.compare.leaderboard.threads import in_threads
from mtlzoo.compare.statistics.resample import draw_users
from mtlzoo.compare.statistics.weighted_auc import draws_of_auc

ROWS, USERS, MODELS, TASKS, DRAWS = 57_000, 1_000, 15, 8, 2_000
Table = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--loop_draws", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    started, used = perf_counter(), process_time()
    weights = draw_users(USERS, DRAWS, 0)
    drawing = perf_counter() - started
    cells = [(task, number) for number in range(MODELS * options.seeds) for task in range(TASKS)]
    found = in_threads(lambda cell: draws_of_auc(*table(*cell), weights), cells)
    here = {"way": "here", "AUCs": len(cells), "draws": DRAWS, "seconds": perf_counter() - started}
    here |= {"CPU seconds": process_time() - used}
    scores, labels, users = table(*cells[0])
    counts = torch.cat(weights, 1).numpy()
    started, used = perf_counter(), process_time()
    loop = [
        roc_auc_score(labels, scores, sample_weight=counts[users, draw].astype(np.float64))
        for draw in range(options.loop_draws)
    ]
    share = len(cells) * DRAWS / options.loop_draws
    plain = {"way": "loop", "AUCs": len(cells), "draws": DRAWS, "seconds": share * (perf_counter() - started)}
    plain |= {"CPU seconds": share * (process_time() - used)}
    off = float(np.abs(found[0][: options.loop_draws] - loop).max())
    rows = [here, plain]
    show("AUC on draws of users", rows)
    ratio = plain["CPU seconds"] / here["CPU seconds"]
    print(f"{ratio:.0f} times less CPU than the loop; drawing {drawing:.1f} s; largest difference {off:.1e}")
    sizes = {"rows": ROWS, "users": USERS, "models": MODELS, "tasks": TASKS}
    write("resampling", sizes | vars(options), rows, ratio=ratio, drawing=drawing, largest_difference=off)


def table(task: int, number: int) -> Table:
    """Logits, labels and users of one task; the same rows for all models."""
    draw = np.random.default_rng(task)
    users = (draw.random(ROWS) ** 1.5 * USERS).astype(np.int64)
    signal = draw.normal(size=ROWS)
    labels = draw.random(ROWS) < np.linspace(0.01, 0.3, TASKS)[task] * np.exp(signal - 0.5)
    noise = np.random.default_rng([task, number]).normal(size=ROWS)
    return (signal + noise).astype(np.float32), labels, users


if __name__ == "__main__":
    main()
