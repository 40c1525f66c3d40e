r"""Everything that a GPU must show, in one command of a few minutes: is it right there, and is it fast there?

    python benchmarks/device.py [--minutes 7] [--sections tests exactness ...] [--cases TEXT] [--out FOLDER]
    python benchmarks/device.py --device cpu --quick         # the same code on small sizes, where there is no GPU

Sections, in this order, each in processes of its own, as an error of CUDA leaves none that another could go on in:

* `tests`: the suite's tests of callbacks, rules, models and metrics on the device, as `device_tests.py` names them.
* `exactness`: every rule at each level beside the CPU in float64; half precisions; a process group of one; resumed and
  deterministic trainings, bit by bit.
* `training`: rows/s of `mtlzoo fit` beside a bare loop with the same network, and of other libraries.
* `surgery`: a step with surgery as multiples of the plain step, its waits for the device, its memory.
* `evaluation`: rows/s of AUC, GAUC and the full ranking.

``device.json`` in the folder (benchmarks/results unless said) is written after every case, so that a run that is cut
keeps what it had. A case that fails leaves the end of its traceback and the others go on, also if its process dies or
hangs. A case that lacks a package, or has no time left, says so. What a section leaves of its share of the minutes goes
to the next. After a mend run the section alone, or those of its cases that have a text in their names.

It needs no network, torch 2.11 or later, lightning, torchmetrics, numpy, pandas, scipy, pyarrow, pytest, pyyaml, rich
and filelock. `training` and some of `tests` need polars too, `training` jsonargparse besides (it measures the command
line); nothing needs wandb.
Where these can't be installed from a registry they travel as wheels. Beforehand, with the Python and platform of there:

    pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux2014_x86_64 -d wheels \
        polars polars-runtime-32 jsonargparse docstring-parser typeshed-client \
        torchjd==0.18.0 torch-rechub==0.9.0 deepctr-torch==0.3.0 fuxictr nextrec

and there, from the root of the repository:

    pip install --no-index --no-deps --target /tmp/site wheels/*.whl
    PYTHONPATH=/tmp/site python benchmarks/device.py

The repository itself need not be installed: where `mtlzoo` can't be imported, its folders are linked as a package.
"""

import argparse
import faulthandler
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from signal import SIGKILL
from typing import Any, TextIO, TypeAlias

import report

Row: TypeAlias = dict[str, Any]
Cases: TypeAlias = Mapping[str, Callable[[], Row]]

SHARES = {"tests": 0.2, "exactness": 0.25, "training": 0.3, "surgery": 0.2, "evaluation": 0.05}
"""Sections, and the part of the minutes that each may use; what it leaves goes to those after it."""
LONGEST = {"cuda": 120.0, "cpu": 900.0}
"""Seconds after which a case is given up; what runs on a CPU may share it."""
OPTIONAL = (
    "polars",
    "jsonargparse",
    "torchmetrics",
    "torchjd",
    "qpsolvers",
    "quadprog",
    "torch_rechub",
    "deepctr_torch",
    "fuxictr",
    "nextrec",
)
"""Packages that may be missing."""
MOST = {"PCGrad model": {2: 1.3, 4: 1.6, 8: 2.2}, "PCGrad representation": dict.fromkeys((2, 4, 8, 16), 1.1)}
"""What a step with surgery may take beside a plain one, by the number of tasks."""
REPOSITORY = Path(__file__).resolve().parents[1]


class Record:
    """``device.json``: what was found so far.

    Args:
        folder: Where it lies.
        options: Of the command, for a record that begins.
    """

    def __init__(self, folder: Path, options: Row | None = None) -> None:
        self.folder = folder
        self.found: Row = {"options": options, "rows": [], "running": None, "targets": []}
        if options is None:
            self.found = json.loads((folder / "device.json").read_text())
        self.rows: list[Row] = self.found["rows"]

    def write(self, **changes: Any) -> None:
        """As it is now."""
        self.found |= changes
        options: Any = self.found["options"]
        more: Any = {key: self.found[key] for key in ("running", "targets")}
        report.write("device", options, self.rows, self.folder, **more)

    def add(self, section: str, case: str, found: Row, console: TextIO) -> None:
        """One more case; says it, too."""
        self.rows.append({"section": section, "case": case, **found})
        self.write(running=None)
        print(f"{section}: {case}: " + ", ".join(f"{key} {value}" for key, value in found.items()), file=console)
        console.flush()


def work(section: str, first: int, until: float, options: argparse.Namespace) -> None:
    """The cases of a section from `first` on, in this process. Ends with 1 where CUDA is not to be used any more."""
    console = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not what was found
    record = Record(options.out)
    try:
        cases: Cases = import_module(f"device_{section}").cases(options.device, options.quick, options.folder)
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL:
            raise
        record.add(section, "all", {"left out": f"{error.name} is not installed"}, console)
        return
    asked = [(name, case) for name, case in cases.items() if options.cases in name]
    for case, measure in asked[first:]:
        left = until - time.time()
        if left <= 0:
            record.add(section, case, {"left out": "no time left"}, console)
            continue
        record.write(running=case)
        faulthandler.dump_traceback_later(min(LONGEST[options.device], left + 10), exit=True)
        start, broken = time.time(), False
        try:
            found = measure()
        except Exception as error:
            if isinstance(error, ModuleNotFoundError) and error.name in OPTIONAL:
                found = {"left out": f"{error.name} is not installed"}
            else:
                found = {"failed": traceback.format_exc()[-1500:]}
            broken = "CUDA error" in str(error)
        faulthandler.cancel_dump_traceback_later()
        record.add(section, case, found | {"seconds": round(time.time() - start, 1)}, console)
        if broken:
            sys.exit(1)
        gc.collect()
        if options.device == "cuda":
            import_module("torch").cuda.empty_cache()


def run(section: str, until: float, options: argparse.Namespace, environment: Mapping[str, str]) -> None:
    """A section, in as many processes as it needs."""
    words = [sys.executable, __file__, "--one", section, "--until", str(until), "--device", options.device]
    words += ["--out", str(options.out), "--folder", str(options.folder), "--cases", options.cases]
    words += ["--quick"] if options.quick else []
    while True:
        first = sum(row["section"] == section for row in Record(options.out).rows)
        with tempfile.TemporaryFile("w+") as log:
            child = subprocess.Popen(
                [*words, "--first", str(first)], stderr=log, env=environment, cwd=REPOSITORY, process_group=0
            )
            try:
                with suppress(subprocess.TimeoutExpired):
                    child.wait(max(until - time.time(), 0) + 60)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, SIGKILL)  # it, and what it began
                child.wait()
            if child.returncode == 0:
                return
            log.seek(0)
            end = log.read()[-1500:]
        record = Record(options.out)
        running: Any = record.found["running"]
        done = sum(row["section"] == section for row in record.rows)
        if running or done == first:
            died = {"failed": f"the process ended with {child.returncode}: {end}"}
            found = died if time.time() < until else {"left out": "no time left"}
            record.add(section, running or "before any case", found, sys.stdout)
        if not running and done == first:
            return


def judge(rows: list[Row]) -> list[Row]:
    """What was to be reached on a GPU, and whether it was."""
    verdicts: list[Row] = []

    def verdict(row: Row, measure: str, measured: float, target: float, *, most: bool = False) -> None:
        reached = str(measured <= target if most else measured >= target)
        what = f"{row['section']}: {row['case']}"
        verdicts.append({"what": what, "measure": measure, "target": target, "measured": measured, "reached": reached})

    ours = {(row["network"], row["batch"]): row for row in rows if row.get("compiled") is False}
    for row in rows:
        if "compiled" in row:
            verdict(row, "of the bare loop", row["ratio"], 0.95)
            if row["network"] == "light MMoE" and row["batch"] == 65_536:
                verdict(row, "rows/s", row["rows/s"], 2e6)
        elif "library" in row and (row["network"], row["batch"]) in ours:
            times = ours[row["network"], row["batch"]]["ratio"] / row["ratio"]
            verdict(row, "times as fast", round(times, 1), 3.0)
        elif row.get("way") in MOST and (limit := MOST[row["way"]].get(row["tasks"])):
            verdict(row, "of a plain step", row["to_plain"], limit, most=True)
    return verdicts


def with_package(folder: Path) -> Row:
    """The environment of processes that can import `mtlzoo`, linked in `folder` where it is not installed."""
    environment = dict(os.environ)
    if find_spec("mtlzoo") is None:
        package = folder / "package" / "mtlzoo"
        package.mkdir(parents=True, exist_ok=True)
        parts = [
            *(REPOSITORY / "zoo").iterdir(),
            *(REPOSITORY / name for name in ("callbacks", "configs", "datamodules")),
        ]
        for part in parts:
            link = package / part.name
            link.unlink(missing_ok=True)
            link.symlink_to(part)
        environment["PYTHONPATH"] = os.pathsep.join([str(package.parent), environment.get("PYTHONPATH", "")]).rstrip(
            ":"
        )
    return environment


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run?")
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--sections", nargs="+", choices=list(SHARES), default=list(SHARES))
    parser.add_argument("--cases", default="", metavar="TEXT", help="only cases that have this in their names")
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="folder of device.json")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "mtlzoo-device", help="made-up data"
    )
    for hidden, kind in (("--one", str), ("--first", int), ("--until", float)):
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out, options.folder = options.out.absolute(), options.folder.absolute()
    if options.one:
        work(options.one, options.first, options.until, options)
        return
    if options.device == "cuda" and not import_module("torch").cuda.is_available():
        parser.error("torch sees no GPU; --device cpu --quick tries the same code without one")
    begun = time.time()
    names = ("device", "quick", "minutes", "sections", "cases")
    Record(options.out, {name: getattr(options, name) for name in names}).write()
    options.folder.mkdir(parents=True, exist_ok=True)
    environment = with_package(options.folder)
    whole, share = sum(SHARES[section] for section in options.sections), 0.0
    for section in [name for name in SHARES if name in options.sections]:
        share += SHARES[section] / whole
        run(section, begun + share * 60 * options.minutes, options, environment)
    record = Record(options.out)
    if options.device == "cuda" and not options.quick:
        record.write(targets=judge(record.rows))
    if record.found["targets"]:
        report.show("Targets", record.found["targets"])
    failed = [f"{row['section']}: {row['case']}" for row in record.rows if "failed" in row]
    print(f"{len(record.rows)} cases in {(time.time() - begun) / 60:.1f} minutes; failed: {failed or 'none'}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
