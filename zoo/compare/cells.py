"""The folder of a cell: what it is, who works on it, how far it has come."""

import fcntl
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtlzoo.callbacks.atomic import own_folder, whole_file

CLAIM = ".claim"
"""Locked by whom works on the cell; the system frees it when that dies, whatever it died of."""
LOG = "log.txt"
TAIL = 20
"""Lines of a log that are shown of a failure."""


@dataclass(frozen=True)
class CellFolder:
    """Where a cell lies.

    Args:
        path: Its folder.
    """

    path: Path

    def write(self, words: Sequence[str]) -> None:
        """Says what the cell is: ``cell.json``, with the folder that paths in its words start from."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._write("cell.json", {"words": list(words), "folder": str(Path.cwd())})

    def read(self) -> dict[str, Any]:
        """What `write` wrote.

        Raises:
            OSError: There is no cell.
        """
        found: dict[str, Any] = json.loads((self.path / "cell.json").read_bytes())
        return found

    def claim(self) -> int | None:
        """Takes the cell, unless another process works on it.

        Returns:
            An open file, which holds the claim: until it is closed, in all processes that inherit it, or these die of
            whatever. None where somebody has it.

        Raises:
            OSError: The folder can't be written, or its file system knows no locks.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(own_folder(self.path) / CLAIM, flags, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    @property
    def run(self) -> Path | None:
        """The run folder; None before its training has begun."""
        found = [path for path in self.path.glob("*/version_*") if path.name.removeprefix("version_").isdigit()]
        return max(found, key=lambda path: int(path.name.removeprefix("version_")), default=None)

    def record(self, name: str) -> dict[str, Any] | None:
        """fit.json or results.json, once it is written."""
        run = self.run
        if run is None or not (run / name).is_file():
            return None
        found: dict[str, Any] = json.loads((run / name).read_bytes())
        return found

    @property
    def score(self) -> float | None:
        """The best score of validation, larger is better; ``-inf`` where there was none or the cell failed."""
        fitted = self.record("fit.json")
        if fitted is None:
            return -math.inf if self.failure else None
        best = fitted["best"]
        return -math.inf if best is None else best if fitted["mode"] == "max" else -best

    def is_done(self, *, tested: bool) -> bool:
        """Whether nothing is left to do.

        Args:
            tested: Whether its test counts, or its training alone.
        """
        return self.record("results.json" if tested else "fit.json") is not None

    @property
    def failure(self) -> dict[str, Any] | None:
        """``status`` and the end of its log, where it failed."""
        path = self.path / "failed.json"
        found: dict[str, Any] | None = json.loads(path.read_bytes()) if path.is_file() else None
        return found

    def fail(self, status: int) -> None:
        """Notes that it failed, with the end of its log."""
        log = self.path / LOG
        lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
        self._write("failed.json", {"status": status, "log": lines[-TAIL:]})

    def forgive(self) -> None:
        """Forgets that it failed."""
        (self.path / "failed.json").unlink(missing_ok=True)

    def _write(self, name: str, value: Any) -> None:
        with whole_file(self.path / name, "w") as file:
            json.dump(value, file, indent=2)


LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
"""Says to Lightning that a process is one of several of a training: those that SLURM started are, a cell is not."""


def environment(jobs: int) -> dict[str, str]:
    """Of a cell: this process's, with a share of this machine's cores, but for what the user has set.

    Args:
        jobs: Cells that share the cores.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = dict.fromkeys(("OMP_NUM_THREADS", "POLARS_MAX_THREADS"), str(max(1, cores // jobs)))
    return {**threads, **{name: value for name, value in os.environ.items() if name not in LAUNCHED}}
