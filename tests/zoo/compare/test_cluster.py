"""Cells on a Ray cluster of two machines, which are processes here."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mtlzoo.cli.cell_check import CellCheck
from mtlzoo.compare.cells import CellFolder
from mtlzoo.compare.cluster import Cluster
from mtlzoo.compare.file import read_comparison
from mtlzoo.compare.matrix import Cell, Matrix
from mtlzoo.compare.queue import Queue

ray = pytest.importorskip("ray", reason="Ray is not installed")

TEXT = """
data: {name: Synthetic, overrides: {rows: 400}}
models: [SharedBottom]
seeds: [0, 1]
baseline: null
common: {trainer.max_epochs: 1, trainer.accelerator: cpu, model.embedding_dim: 4}
"""


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of two machines with one core each."""
    from ray.cluster_utils import Cluster as Machines

    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    cluster = Machines(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]


class Killer:
    """Takes a machine away as soon as all of them work."""

    def __init__(self, cluster: Any, root: Path) -> None:
        self.cluster = cluster
        self.root = root
        self.ended_cells: list[str] = []
        self.killed = False

    def left(self, cells: Sequence[Cell], running: int) -> None:
        if not self.killed and len(list(self.root.glob("*/log.txt"))) == 2:
            self.cluster.remove_node(self.cluster.list_all_nodes()[-1], allow_graceful=False)
            self.killed = True

    def ended(self, cell: Cell, folder: CellFolder, seconds: float | None) -> None:
        self.ended_cells.append(cell.folder)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray leaves the files of its processes to the end
def test_two_machines_of_which_one_dies(machines: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTLZOO_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "compare.yaml"
    path.write_text(TEXT)
    matrix = Matrix(read_comparison(path), CellCheck(path))
    killer = Killer(machines, tmp_path / "cells")
    queue = Queue(matrix, tmp_path / "cells", Cluster(), killer)
    queue.run()
    assert killer.killed
    assert sorted(killer.ended_cells) == sorted(cell.folder for cell in matrix.wanted(queue.score))
    for cell in matrix.wanted(queue.score):
        assert queue.folder(cell).is_done(tested=True)
        log = (queue.folder(cell).path / "log.txt").read_text()
        assert log.count("Results: ") == 1  # nobody ran what was done
    assert len(list(tmp_path.glob("cells/*/*/*/results.json"))) == 2


def test_a_cell_that_fits_nowhere_is_refused(machines: Any) -> None:
    with pytest.raises(ValueError, match=r"no cell fits: it wants 1\.0 cores and 1\.0 GPUs"):
        Cluster(gpus=1.0)
