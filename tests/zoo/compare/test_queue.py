import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from mtlzoo.compare.cells import CellFolder, environment
from mtlzoo.compare.comparison import Comparison
from mtlzoo.compare.file import read_comparison
from mtlzoo.compare.matrix import Cell, Checked, Matrix
from mtlzoo.compare.options import Option
from mtlzoo.compare.queue import Local, Queue

RUN = """
import json, sys, time
from pathlib import Path
path, seconds = Path(sys.argv[1]), float(sys.argv[2])
if "--model=Broken" in json.loads((path / "cell.json").read_text())["words"]:
    print("no such thing")
    sys.exit(3)
with open(path.parent / "started.txt", "a") as file:
    file.write(path.name + chr(10))
time.sleep(seconds)
(path / "run/version_0").mkdir(parents=True, exist_ok=True)
(path / "run/version_0/fit.json").write_text(json.dumps({"best": 0.5, "mode": "max", "seconds": 1.0}))
(path / "run/version_0/results.json").write_text("{}")
"""
"""What stands in for a training: it says that it runs, and takes its time."""


def check(options: Sequence[Option]) -> Checked:
    values = {option.name: option.value for option in options}
    return Checked(f"{values['data']}-{values['model']}", {"trainer": {}, **values}, ("a", "b"))


def compared(tmp_path: Path, text: str) -> Matrix:
    path = tmp_path / "compare.yaml"
    path.write_text(text)
    comparison: Comparison = read_comparison(path)
    return Matrix(comparison, check)


class Place(Local):
    """Runs the stand-in."""

    def __init__(self, jobs: int, seconds: float = 0.0) -> None:
        super().__init__(jobs)
        self.seconds = seconds
        self.processes: list[subprocess.Popen[bytes]] = []
        self.most = 0

    def command(self, path: Path, claim: int, *, tests: bool) -> list[str]:
        return [sys.executable, "-S", "-c", RUN, str(path), str(self.seconds)]

    def start(self, cell: CellFolder, *, tests: bool) -> "subprocess.Popen[bytes] | None":
        process = super().start(cell, tests=tests)
        if process is not None:
            self.processes.append(process)
            self.most = max(self.most, sum(each.poll() is None for each in self.processes))
        return process

    @property
    def started(self) -> int:
        return len(self.processes)


class Heard:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.here: list[str] = []
        self.elsewhere: list[str] = []

    def left(self, cells: Sequence[Cell], running: int) -> None:
        pass

    def ended(self, cell: Cell, folder: CellFolder, seconds: float | None) -> None:
        (self.elsewhere if seconds is None else self.here).append(cell.folder)


TEXT = "data: S\nmodels: [MMoE, PLE]\nseeds: [0, 1]\nbaseline: null\n"


def test_every_cell_runs_once_and_a_second_time_none(tmp_path: Path) -> None:
    matrix, place, heard = compared(tmp_path, TEXT), Place(2, 0.3), Heard()
    Queue(matrix, tmp_path, place, heard).run()
    assert sorted((tmp_path / "started.txt").read_text().split()) == sorted(heard.here)
    assert (place.started, place.most, len(set(heard.here)), heard.elsewhere) == (4, 2, 4, [])
    again, later = Place(2), Heard()
    Queue(matrix, tmp_path, again, later).run()
    assert (again.started, later.here, sorted(later.elsewhere)) == (0, [], sorted(heard.here))


def test_failed_cells_are_kept_from_running_until_asked(tmp_path: Path) -> None:
    matrix, heard = compared(tmp_path, TEXT.replace("PLE", "Broken")), Heard()
    queue = Queue(matrix, tmp_path, Place(1), heard)
    queue.run()
    assert len(heard.here) == 4
    failed = [queue.folder(cell).failure for cell in matrix.wanted(queue.score)]
    assert [failure and failure["status"] for failure in failed] == [None, 3, None, 3]
    assert failed[1] is not None
    assert failed[1]["log"] == ["no such thing"]
    again = Place(1)
    Queue(matrix, tmp_path, again, Heard()).run()
    assert again.started == 0
    Queue(matrix, tmp_path, again, Heard(), retry=True).run()
    assert again.started == 2


def test_a_search_that_failed_is_tried_again_too(tmp_path: Path) -> None:
    text = "data: S\nmodels: [Broken]\nbaseline: null\ntune: {grid: {model.lr: [1, 2]}}\n"
    matrix, place = compared(tmp_path, text), Place(1)
    Queue(matrix, tmp_path, place, Heard()).run()
    assert place.started == 2
    Queue(matrix, tmp_path, place, Heard(), retry=True).run()
    assert place.started == 4


def test_a_search_ends_in_its_choice(tmp_path: Path) -> None:
    text = "data: S\nmodels: [MMoE]\nbaseline: null\nseeds: [0, 1]\ntune: {grid: {model.lr: [1, 2]}}\n"
    matrix, place, heard = compared(tmp_path, text), Place(1), Heard()
    Queue(matrix, tmp_path, place, heard).run()
    # Two of the search, of which the first wins by order; its seed 0 is done as it stands, its seed 1 is new.
    assert len(set(heard.here)) == place.started == 3


def test_the_claim_is_of_who_runs_and_ends_with_it(tmp_path: Path) -> None:
    cell = CellFolder(tmp_path / "cell")
    cell.write(["--model=MMoE"])
    owner = Place(1, 60.0).start(cell, tests=True)
    assert owner is not None  # and this process has handed the claim on
    assert cell.claim() is None
    owner.kill()
    owner.wait()
    claim = cell.claim()
    assert claim is not None
    os.close(claim)


def test_a_claim_outlives_the_process_that_took_it(tmp_path: Path) -> None:
    """A comparison that is killed leaves its cells running, and nobody starts them a second time."""
    cell = CellFolder(tmp_path / "cell")
    cell.write(["--model=MMoE"])
    claim = cell.claim()
    assert claim is not None
    command = ["-S", "-c", "import sys; sys.stdin.read()"]
    middle = (
        f"import subprocess, sys; p = subprocess.Popen([sys.executable, *{command}], pass_fds=[{claim}]); print(p.pid)"
    )
    subprocess.run([sys.executable, "-S", "-c", middle], stdin=(pipe := os.pipe())[0], pass_fds=[claim], check=True)
    os.close(claim)
    assert cell.claim() is None
    os.close(pipe[1])  # ends the one that is left
    until = time.monotonic() + 20
    while (claim := cell.claim()) is None and time.monotonic() < until:
        time.sleep(0.02)
    assert claim is not None
    os.close(claim)


def test_what_runs_elsewhere_is_waited_for(tmp_path: Path) -> None:
    matrix, heard, place = compared(tmp_path, TEXT), Heard(), Place(1)
    queue = Queue(matrix, tmp_path, place, heard)
    first = queue.folder(matrix.wanted(queue.score)[0])
    first.write(["--model=MMoE"])
    other = Place(1, 1.0).start(first, tests=True)
    assert other is not None
    queue.run()
    assert other.wait() == 0
    assert (place.started, heard.elsewhere) == (3, [first.path.name])
    assert len((tmp_path / "started.txt").read_text().split()) == 4


def test_an_error_ends_what_runs(tmp_path: Path) -> None:
    class Interrupted(Heard):
        def left(self, cells: Sequence[Cell], running: int) -> None:
            raise KeyboardInterrupt

    place = Place(2, 60.0)
    with pytest.raises(KeyboardInterrupt):
        Queue(compared(tmp_path, TEXT), tmp_path, place, Interrupted()).run()
    assert all(process.poll() is not None for process in place.processes)
    assert not list(tmp_path.glob("*/failed.json"))


def test_a_cell_is_no_task_of_whoever_started_the_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under ``srun -n 4 mtlzoo compare`` Lightning would take the cells of three for ranks that write nothing."""
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("POLARS_MAX_THREADS", raising=False)
    found = environment(1000)
    assert "SLURM_PROCID" not in found
    assert (found["SLURM_JOB_ID"], found["OMP_NUM_THREADS"], found["POLARS_MAX_THREADS"]) == ("7", "5", "1")


def test_scores_are_larger_where_better(tmp_path: Path) -> None:
    def score(fitted: dict[str, object] | None) -> float | None:
        run = tmp_path / "run" / "version_0"
        run.mkdir(parents=True, exist_ok=True)
        (run / "fit.json").unlink(missing_ok=True)
        if fitted is not None:
            (run / "fit.json").write_text(json.dumps(fitted))
        return CellFolder(tmp_path).score

    assert score({"best": 0.7, "mode": "max"}) == 0.7
    assert score({"best": 0.7, "mode": "min"}) == -0.7
    assert score({"best": None, "mode": "max"}) == -float("inf")
    assert score(None) is None
    CellFolder(tmp_path).fail(1)
    assert score(None) == -float("inf")
