"""The benchmark of a GPU runs where none is: every section, on small sizes; also where packages are missing."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from chosen_device import TESTS
from ranks import run_on_ranks

SECTIONS = ("tests", "training", "surgery", "evaluation")
SCRIPT = TESTS.parent / "benchmarks" / "device.py"
WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("polars", "jsonargparse", "wandb"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""


def found(folder: Path) -> list[dict[str, Any]]:
    """The cases of the record there."""
    record: dict[str, Any] = json.loads((folder / "device.json").read_text())
    assert record["running"] is None
    rows: list[dict[str, Any]] = record["rows"]
    return rows


@pytest.mark.slow
def test_every_section_runs(tmp_path: Path) -> None:
    """Each as the command starts it, in a process that need not import torch again; `exactness` is below."""
    (tmp_path / "device.json").write_text(json.dumps({"options": {}, "rows": [], "running": None, "targets": []}))
    until = str(time.time() + 3600)  # far more than it takes, for a machine that others use too
    for section in SECTIONS:
        words = ["--one", section, "--first", "0", "--until", until, "--device", "cpu", "--quick"]
        run_on_ranks(SCRIPT, 1, *words, "--out", str(tmp_path), "--folder", str(tmp_path))
    rows = found(tmp_path)
    assert not [row for row in rows if "failed" in row]
    assert {row["section"] for row in rows if "left out" not in row} == {*SECTIONS}
    by_case = {row["case"]: row for row in rows}
    assert by_case["rows of tables"]["tests"] > 0
    assert by_case["mtlzoo, tiny"]["chunks"] > 1
    assert by_case["T = 2, PCGrad row"]["to_plain"] > 0
    assert by_case["AUC"]["apart"] < 1e-4


@pytest.mark.slow
def test_what_needs_a_missing_package_says_so(tmp_path: Path) -> None:
    """The command itself; sections that need none of them find all that they look for."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--quick", "--minutes", "60"]
    command += ["--sections", "exactness", "training", "--out", str(tmp_path), "--folder", str(tmp_path / "data")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(done.stdout[-6000:] + done.stderr[-2000:])
    assert json.loads((tmp_path / "device.json").read_text())["options"]["quick"]
    rows = found(tmp_path)
    left_out = {row["case"]: row["left out"] for row in rows if "left out" in row}
    assert left_out == {"all": "polars is not installed"}
    by_case = {row["case"]: row for row in rows}
    assert by_case["PCGrad"]["row 64-true"] == 0.0 < by_case["PCGrad"]["row 32-true"]
    assert by_case["resumed, sparse"]["compared"] > 10
    assert {"Fixed", "bf16-mixed, row", "resumed, sparse", "deterministic, dense"} <= {
        row["case"] for row in rows if "failed" not in row
    }
