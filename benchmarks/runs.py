"""Trainings through the command line, each in a folder of its own, done once however often they are asked for."""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any


@dataclass(frozen=True)
class Run:
    """One training and where it lies.

    Args:
        folder: Of this training alone.
        arguments: Of `mtlzoo fit`.
        seed: Of weights and of the order of rows.
    """

    folder: Path
    arguments: tuple[str, ...]
    seed: int

    def record(self, name: str) -> dict[str, Any] | None:
        """fit.json or results.json of the run, where it has one."""
        found = next(self.folder.glob(f"*/version_*/{name}"), None)
        return json.loads(found.read_text()) if found else None

    def fit(self) -> None:
        """Trains, if that was not done."""
        if self.record("fit.json") is None:
            shutil.rmtree(self.folder, ignore_errors=True)  # what an interrupted training left would be tested
            seed = ["--seed_everything", str(self.seed)]
            self._command(["fit", *self.arguments, *seed, "--trainer.default_root_dir", str(self.folder)])

    def test(self) -> None:
        """Tests the best checkpoint, if that was not done."""
        if self.record("results.json") is None:
            config = next(self.folder.glob("*/version_*/config.yaml"))
            self._command(["test", "-c", str(config), "--ckpt_path", "best"])
            (config.parent / "checkpoints" / "last.ckpt").unlink(missing_ok=True)

    def _command(self, arguments: Sequence[str]) -> None:
        """One command of the command line, on one thread."""
        self.folder.mkdir(parents=True, exist_ok=True)
        one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
        with (self.folder / f"{arguments[0]}.log").open("w") as log:
            command = [sys.executable, "-m", "mtlzoo", *arguments]
            subprocess.run(command, check=True, stdout=log, stderr=log, env=one_thread)

    def validated(self) -> float:
        """The monitored metric of validation, at the best epoch; larger is better."""
        record = self.record("fit.json")
        return -math.inf if record is None else float(record["best"])

    def metrics(self) -> dict[str, float]:
        """Test metrics; none where it was not tested."""
        record = self.record("results.json")
        return {} if record is None else record["metrics"]


def mean_and_deviation(values: Iterable[float], digits: int = 4) -> str:
    """``.1234 ± .0012``."""
    values = list(values)
    spread = stdev(values) if len(values) > 1 else 0.0
    return f"{fmean(values):.{digits}f} ± {spread:.{digits}f}"
