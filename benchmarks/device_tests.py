"""Section `tests` of benchmarks/device.py: the suite's tests on the device, those that answer quickly and say most."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

REPOSITORY = Path(__file__).resolve().parents[1]
SELECTED: dict[str, tuple[str, ...]] = {
    "surgery": ("callbacks/surgery",),
    "rules": ("callbacks/rules",),
    "other callbacks": (
        "callbacks/conflicts",
        "callbacks/gates",
        "callbacks/embeddings",
        "callbacks/test_balancing.py",
    ),
    "metrics": ("zoo/metrics", "zoo/ranking"),
    "models": (
        *("zoo/test_module.py", "zoo/test_embedding.py", "zoo/test_optim.py", "zoo/test_half_precision.py"),
        *("zoo/test_golden_models.py", "zoo/test_buffers.py", "zoo/test_checkpoint.py", "zoo/training"),
    ),
}
"""Files and folders below tests/, of each what `make fast` runs: some of it is the first case of a test."""
QUICK = {"rows of tables": ("callbacks/surgery/test_rows.py",)}


def cases(device: str, quick: bool, folder: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    """Part by part."""
    return {name: partial(run, device, paths) for name, paths in (QUICK if quick else SELECTED).items()}


def run(device: str, paths: tuple[str, ...]) -> dict[str, Any]:
    """Runs the tests in those places, on several workers where pytest-xdist is installed; tells those that fail.

    Warnings are no errors: what a version of torch announces is not what is asked here.
    """
    cores = min(8, (os.cpu_count() or 1) // 2)
    workers = ["-n", str(cores), "--dist", "worksteal"] if cores > 1 and find_spec("xdist") else []
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", "--tb=short"]
        command += ["--continue-on-collection-errors"]  # of files that need a package that is missing
        command += ["-o", "filterwarnings=default", f"--junitxml={report}", *workers]
        done = subprocess.run(
            [*command, *(f"tests/{path}" for path in paths)],
            cwd=REPOSITORY,
            env=os.environ | {"MTLZOO_TEST_DEVICE": device, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, 1) or not report.is_file():
            return {"failed": f"pytest ended with {done.returncode}: {(done.stdout + done.stderr)[-1500:]}"}
        suite = next(ElementTree.parse(report).iter("testsuite"))
    numbers = {name: int(suite.get(name, 0)) for name in ("tests", "skipped", "failures", "errors")}
    if not numbers["failures"] + numbers["errors"]:
        return numbers
    bad = [(test, found) for test in suite.iter("testcase") for found in test if found.tag in ("failure", "error")]
    told = {f"{test.get('classname')}::{test.get('name')}": (found.text or "")[-400:] for test, found in bad}
    return numbers | {"failed": told}
