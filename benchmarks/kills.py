"""Kills and signals at random moments: nothing is lost, every file is old or whole, exit codes are right.

```bash
python benchmarks/kills.py --kills 60 --signals 40 --seed 0
```

Each trial forks this process, which has imported everything, lets a command run in a copy of a finished run and
ends it after a part of its usual time, which is drawn. Then every file is read, and the command is given again and must
succeed.
"""

import argparse
import csv
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import polars as pl
import yaml

from mtlzoo.checkpoint import read
from mtlzoo.cli import main
from mtlzoo.cli.fit import ZooCLI as ZooCLI  # before the forks

DATA = ["--data", "Synthetic", "--data.rows", "6000", "--data.batch_size", "128"]
QUIET = ["--trainer.accelerator", "cpu", "--trainer.enable_model_summary", "false", "--patience", "null"]
SIGNALS = {signal.SIGTERM: 143, signal.SIGINT: 130}


def words(command: str, folder: Path) -> list[str]:
    """A command in a trial's folder."""
    config = ["-c", str(folder / "run/version_0/config.yaml")]
    fit = ["fit", "--model", "MMoE", *DATA, *QUIET, "--checkpoint_every", "20", "--trainer.max_epochs", "2"]
    return {
        "fit": [*fit, "--data.prepared", str(folder / "fresh"), "--trainer.default_root_dir", str(folder / "runs")],
        "resume": ["fit", *config, "--ckpt_path", "last", "--trainer.max_epochs", "3"],
        "test": ["test", *config],
        "predict": ["predict", *config],
        "prepare": ["prepare", *DATA[:4], "--data.prepared", str(folder / "fresh")],
    }[command]


def run(args: list[str], log: Path, number: int = 0, after: float | None = None) -> int:
    """Exit code of a command in a process of its own, which gets a signal after some seconds."""
    if (child := os.fork()) == 0:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.argv = ["mtlzoo", *args]
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        os._exit(code)
    if after is not None:
        time.sleep(after)
        os.kill(child, number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def broken(folder: Path) -> list[str]:
    """What `damaged` finds, in a process of its own: a fork of one that has used polars stands still."""
    found = folder / "found"
    if (child := os.fork()) == 0:
        found.write_text("\n".join(damaged(folder)))
        os._exit(0)
    os.waitpid(child, 0)
    return found.read_text().splitlines()


def damaged(folder: Path) -> list[str]:
    """Files below a folder that are neither old nor whole; names with a dot in front are nobody's."""
    found = []
    for path in (p for p in folder.rglob("*") if p.is_file() and not any(n.startswith(".") for n in p.parts[-2:])):
        try:
            if path.suffix == ".ckpt":
                read(path)
            elif path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".parquet":
                pl.read_parquet(path)
            elif path.name == "config.yaml":
                assert {"model", "data", "trainer"} <= set(yaml.safe_load(path.read_text()))
            elif path.name == "metrics.csv":
                rows = list(csv.reader(path.open()))
                assert all(len(row) == len(rows[0]) for row in rows)
        except Exception as error:
            found.append(f"{path.relative_to(folder)}: {error!r}")
    return found


def trial(draw: random.Random, good: Path, seconds: dict[str, float], number: int) -> tuple[str, list[str]]:
    """One command that is ended; what came of it, and what is wrong."""
    command = draw.choice(list(seconds))
    folder = Path(tempfile.mkdtemp())
    shutil.copytree(good, folder / "run")
    before = {path.relative_to(folder) for path in (folder / "run").rglob("*") if path.is_file()}
    code = run(words(command, folder), folder / "log", number, draw.uniform(0, 1.1) * seconds[command])
    text = (folder / "log").read_text()
    wrong = broken(folder)
    wrong += [f"lost {path}" for path in before if not (folder / path).exists() and "predictions" not in str(path)]
    wrong += ["traceback"] if "Traceback" in text else []
    if number != signal.SIGKILL and code not in (0, SIGNALS[signal.Signals(number)], -number):
        wrong.append(f"exit code {code}")
    runs = sorted((folder / "runs").rglob("last.ckpt"))
    go_on = words(command, folder)
    if command == "fit" and runs:
        go_on = ["fit", "-c", str(runs[-1].parent.parent / "config.yaml"), "--ckpt_path", "last"]
    if again := run(go_on, folder / "log"):
        wrong.append(f"given again: exit code {again}")
    wrong += broken(folder)
    left = list(folder.rglob(".*.part")) if command in ("resume", "predict") else []
    wrong += [f"left {path}" for path in left]
    if not wrong:
        shutil.rmtree(folder)
    return f"{command:8} {signal.Signals(number).name} {code}", [f"{folder}: {each}" for each in wrong]


def measure() -> None:
    """Runs all trials and prints how each ended."""
    parser = argparse.ArgumentParser()
    for name, default in (("kills", 60), ("signals", 40), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have it ignored in the background
    draw = random.Random(options.seed)
    root = Path(tempfile.mkdtemp())
    os.environ["MTLZOO_CACHE"] = str(root / "cache")
    first = ["fit", "--model", "MMoE", *DATA, *QUIET, "--trainer.max_epochs", "1"]
    assert run([*first, "--trainer.default_root_dir", str(root)], root / "log") == 0
    good = next(root.glob("*/version_0")).parent
    seconds = {}
    for command in ("fit", "resume", "test", "predict", "prepare"):
        shutil.copytree(good, root / command / "run")
        began = time.monotonic()
        assert run(words(command, root / command), root / "log") == 0, (root / "log").read_text()
        seconds[command] = time.monotonic() - began
    print({command: round(value, 1) for command, value in seconds.items()}, flush=True)
    numbers = [signal.SIGKILL] * options.kills + [draw.choice(list(SIGNALS)) for _ in range(options.signals)]
    ended: Counter[str] = Counter()
    failures = 0
    for number in numbers:
        how, wrong = trial(draw, good, seconds, number)
        ended[how] += 1
        failures += bool(wrong)
        print(how, *wrong, sep="\n  ", flush=True)
    print(json.dumps({"trials": len(numbers), "wrong": failures, "ended": dict(sorted(ended.items()))}, indent=2))
    shutil.rmtree(root)


if __name__ == "__main__":
    measure()
