"""Do intervals hold the truth as often as they say, and do tests find nothing where there is nothing?

    python benchmarks/coverage.py [--repetitions 2000] [--processes 2]

Simulated results of known truth (`tests/zoo/compare/simulated.py`): contenders that are alike in expectation over new
seeds and new users. For 3, 5 and 10 seeds of each world, shares of the repetitions in which

* `coverage`: the 95 % interval of a value holds the truth; `percentile`: that of a percentile bootstrap over seeds and
  users does;
* `type I`: two contenders differ at .05; `seeds alone`: by the t test over seeds, paired; `users alone`: by the
  bootstrap over users of the same seeds; `sign flip`: by the exact permutation test over seeds.

And for tables of 5 contenders and 3 tasks without any difference: the share that shows one or more against the baseline
(`family`) or against the best (`best`), adjusted by Holm; half as many repetitions. Results:
benchmarks/results/coverage.json and the tables of docs/statistics.md.
"""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from report import show, write
from scipy.special import stdtr
from scipy.stats import ttest_1samp

sys.path.append(str(Path(__file__).parents[1] / "tests" / "zoo"))
from compare.simulated import World, first, percentile_interval

from mtlzoo.compare.leaderboard.family import SIGNIFICANT, Family
from mtlzoo.compare.statistics.intervals import estimate
from mtlzoo.compare.statistics.sample import Sample, difference

SEEDS = (3, 5, 10)
DRAWS = 100
"""Of the users; a leaderboard takes 2,000."""
WORLDS = {
    "50 users, contenders suit other users": World(own=True),
    "50 positives of 6,000 rows, contenders suit other users": World(1500, 4, bias=-5.35, own=True),
    "5,000 users": World(5000, 2),
    "5,000 users, contenders suit other users": World(5000, 2, own=True),
    "ties, 300 users": World(300, 5, ties=True),
    "RMSE, 50 users": World(metric="rmse"),
    "RMSE, 5,000 users, contenders suit other users": World(5000, 2, own=True, metric="rmse"),
    "50 users": World(),
    "50 positives of 6,000 rows": World(1500, 4, bias=-5.35),
    "2,500 users, seeds far apart and skewed": World(2500, 1, quality=0.5),
    "50 users, seeds nearly alike": World(weights=0.03, quality=0.01),
}
TABLES = {
    "alike": World(200, 8, tasks=3),
    "suit other users": World(200, 8, own=True, tasks=3),
}
CONTENDERS = 5
PAGE = Path(__file__).parents[1] / "docs" / "statistics.md"
MARKS = ("<!-- benchmarks/coverage.py writes from here -->", "<!-- to here -->")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    rows, tables = [], []
    with ProcessPoolExecutor(options.processes, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for name, world in TABLES.items():
            found = np.array(list(pool.map(partial(_table, world), range(options.repetitions // 2), chunksize=20)))
            shares = found.mean(0).round(4).tolist()
            tables += [
                {"table": name, "seeds": s, "family": f, "best": b} for s, (f, b) in zip(SEEDS, shares, strict=True)
            ]
            show(name, tables[-len(SEEDS) :])
        for name, world in WORLDS.items():
            pairs = list(pool.map(partial(_pair, world), range(options.repetitions), chunksize=20))
            rows += [{"world": name, "seeds": seeds, **_judged(pairs, seeds)} for seeds in SEEDS]
            show(name, rows[-len(SEEDS) :])
            _keep(options.repetitions, rows, tables)


def _keep(repetitions: int, rows: Sequence[dict[str, Any]], tables: Sequence[dict[str, Any]]) -> None:
    """What there is so far, in the result file and in the documentation."""
    _document(repetitions, rows, tables)
    write("coverage", {"repetitions": repetitions, "of tables": repetitions // 2, "draws": DRAWS}, rows, tables=tables)


def _document(repetitions: int, rows: Sequence[dict[str, Any]], tables: Sequence[dict[str, Any]]) -> None:
    shown = [["world", *list(rows[0])[1:]], *([_percent(v) for v in row.values()] for row in rows)]
    shown_tables = [list(tables[0]), *([_percent(v) for v in row.values()] for row in tables)]
    said = f"{repetitions:,} repetitions (tables: {repetitions // 2:,}), {DRAWS} draws of the users; percent.\n"
    text = "\n".join([said, _markdown(shown), "", _markdown(shown_tables)])
    before, _, rest = PAGE.read_text().partition(MARKS[0])
    PAGE.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}")


def _percent(value: Any) -> str:
    return f"{100 * value:.1f}" if isinstance(value, float) else str(value)


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(lines[0]) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def _pair(world: World, seed: int) -> tuple[Sample, Sample]:
    one, other = world.repetition(seed, 2, max(SEEDS), DRAWS)[0]
    return one, other


def _judged(pairs: Sequence[tuple[Sample, Sample]], seeds: int) -> dict[str, Any]:
    """Shares over the repetitions."""
    truth = np.mean([one.values.mean() for one, _ in pairs])
    scale = "logit" if truth < 1 else "log"
    values = [first(one, seeds) for one, _ in pairs]
    gaps = [first(difference(*pair), seeds) for pair in pairs]
    draw = np.random.default_rng(0)

    def hold(intervals: Sequence[tuple[float, float]]) -> float:
        return float(np.mean([low <= truth <= high for low, high in intervals]).round(4))

    shifts = np.stack([gap.values for gap in gaps])
    return {
        "coverage": hold([estimate(value).interval("log" if scale == "log" else "logit") for value in values]),
        "percentile": hold([percentile_interval(value, draw) for value in values]),
        "type I": _share([estimate(gap).p or 0.0 for gap in gaps]),
        "seeds alone": _share(ttest_1samp(shifts, 0, axis=1).pvalue),
        "users alone": _share([_users_alone(gap) for gap in gaps]),
        "sign flip": _share(_sign_flip(shifts)),
    }


def _share(p: Any) -> float:
    return float(np.mean(np.asarray(p) < SIGNIFICANT).round(4))


def _users_alone(gap: Sample) -> float:
    means = gap.defined.mean(0)
    return float(2 * stdtr(gap.users - 1, -abs(gap.values.mean()) / means.std(ddof=1)))


def _sign_flip(shifts: NDArray[Any]) -> NDArray[Any]:
    """Of all 2^S signs, the share whose mean is as far from zero."""
    signs = np.array(list(product((1, -1), repeat=shifts.shape[1])))
    means = np.abs(shifts @ signs.T)
    return np.asarray((means >= means[:, :1] - 1e-12).mean(1))


def _table(world: World, seed: int) -> list[tuple[bool, bool]]:
    """For each number of seeds, whether anything is shown against the baseline, or against the best."""
    tasks = world.repetition(seed, CONTENDERS, max(SEEDS), DRAWS)
    shown = []
    for seeds in SEEDS:
        samples = {f"t{t}": {f"c{c}": first(s, seeds) for c, s in enumerate(of)} for t, of in enumerate(tasks)}
        family = Family("auc", samples, "c0")
        found = [min(adjusted.values()) < SIGNIFICANT for adjusted in (family.adjusted, family.best_adjusted)]
        shown.append((found[0], found[1]))
    return shown


if __name__ == "__main__":
    main()
