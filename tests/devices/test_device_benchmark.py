"""The benchmark of a GPU runs where none is: every section, on small sizes; also where packages are missing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from chosen_device import TESTS

SECTIONS = {"tests", "exactness", "training", "surgery", "evaluation"}
WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("polars", "jsonargparse", "wandb"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""


def measured(folder: Path, *words: str, **environment: str) -> list[dict[str, Any]]:
    """Its cases; far more minutes than it takes, for a machine that others use too."""
    script = str(TESTS.parent / "benchmarks" / "device.py")
    command = [sys.executable, script, "--device", "cpu", "--quick", "--minutes", "60"]
    done = subprocess.run(
        [*command, "--out", str(folder), "--folder", str(folder / "data"), *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(done.stdout[-6000:] + done.stderr[-2000:])
    found: dict[str, Any] = json.loads((folder / "device.json").read_text())
    assert found["options"]["quick"]
    assert found["running"] is None
    rows: list[dict[str, Any]] = found["rows"]
    return rows


@pytest.mark.slow
def test_every_section_runs(tmp_path: Path) -> None:
    rows = measured(tmp_path)
    assert not [row for row in rows if "failed" in row]
    assert {row["section"] for row in rows if "left out" not in row} == SECTIONS
    by_case = {row["case"]: row for row in rows}
    assert by_case["rows of tables"]["tests"] > 0
    assert by_case["PCGrad"]["row 64-true"] == 0.0 < by_case["PCGrad"]["row 32-true"]
    assert by_case["resumed, sparse"]["compared"] > 10
    assert by_case["mtlzoo, tiny"]["chunks"] > 1
    assert by_case["T = 2, PCGrad row"]["to_plain"] > 0
    assert by_case["AUC"]["apart"] < 1e-4


@pytest.mark.slow
def test_what_needs_a_missing_package_says_so(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    rows = measured(tmp_path, "--sections", "exactness", "training", "--cases", "d", PYTHONPATH=str(tmp_path))
    left_out = {row["case"]: row["left out"] for row in rows if "left out" in row}
    assert left_out == {"all": "polars is not installed"}
    assert {"Fixed", "bf16-mixed, row", "resumed, sparse", "deterministic, dense"} <= {
        row["case"] for row in rows if "failed" not in row
    }
