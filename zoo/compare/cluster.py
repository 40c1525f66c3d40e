"""Runs cells on a Ray cluster, for those who outgrow one machine."""

import os
from pathlib import Path
from typing import Any

from mtlzoo.compare.cells import LOG, CellFolder
from mtlzoo.compare.queue import CLAIMED, Local

LOST, CANCELLED = 143, 130
"""Statuses of a cell whose machine went away, and of one that was told to end: either can be taken up again."""


class Task:
    """A cell that runs somewhere in the cluster.

    Args:
        reference: What Ray calls it.
        log: Of the cell, where it is told why it could not be run.
    """

    def __init__(self, reference: Any, log: Path) -> None:
        self.reference = reference
        self.log = log

    def poll(self) -> int | None:
        """Its status once it has ended."""
        import ray

        done, _ = ray.wait([self.reference], timeout=0)
        if not done:
            return None
        try:
            return int(ray.get(self.reference))
        except (ray.exceptions.TaskCancelledError, KeyboardInterrupt):
            return CANCELLED
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, KeyboardInterrupt):
                return CANCELLED
            with self.log.open("a") as log:
                log.write(f"{error}\n")
            return 1
        except ray.exceptions.RayError:
            return LOST

    def terminate(self) -> None:
        """Asks it to end."""
        import ray

        ray.cancel(self.reference)


class Cluster:
    """Runs cells on a Ray cluster whose machines share the folder.

    Args:
        cpus: Cores per cell, which are its threads.
        gpus: GPUs per cell; a share lets several cells have one.

    Raises:
        ValueError: Ray is not installed, or the cluster can never run a cell.
    """

    def __init__(self, cpus: float = 1.0, gpus: float = 0.0) -> None:
        try:
            import ray
        except ImportError:
            raise ValueError("--on ray needs Ray: pip install 'mtlzoo[ray]'.") from None
        if not ray.is_initialized():
            ray.init(log_to_driver=False, include_dashboard=False)
        self.cpus = cpus
        self.gpus = gpus
        options: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": 0}
        self._remote = ray.remote(**options)(_work)
        if self._places() < 1:
            raise ValueError(f"no cell fits: it wants {cpus} cores and {gpus} GPUs of {_resources()}.")

    @property
    def jobs(self) -> int:
        """Cells that the cluster takes at a time, and as many that wait where it may grow."""
        return max(1, self._places()) + 1

    def start(self, cell: CellFolder, *, tests: bool) -> Task | None:
        """Starts a cell; None where another process works on it."""
        claim = cell.claim()
        if claim is None:
            return None
        os.close(claim)  # who runs it claims it, there
        return Task(self._remote.remote(str(cell.path), tests, self.cpus), cell.path / LOG)

    def _places(self) -> int:
        there = _resources()
        wanted = {"CPU": self.cpus, "GPU": self.gpus}
        return int(min(there.get(name, 0.0) / number for name, number in wanted.items() if number > 0))


def _resources() -> dict[str, float]:
    import ray

    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]


def _work(path: str, tests: bool, cpus: float) -> int:
    """Runs a cell on the machine that this is called on, and ends it where the task is cancelled."""
    for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ[name] = str(max(1, int(cpus)))
    process = Local(1).start(CellFolder(Path(path)), tests=tests)
    if process is None:
        return CLAIMED
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
