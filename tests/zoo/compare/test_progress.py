import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from mtlzoo.compare.cells import CellFolder
from mtlzoo.compare.matrix import Cell, Contender
from mtlzoo.compare.progress import Report, Times


def cell(model: str = "MMoE", seed: int = 0, *, data: str = "S", tests: bool = True) -> Cell:
    return Cell(Contender(data, model, "sum", ()), seed, (), f"{data}-{model}-s{seed}", tests)


def test_time_left_is_that_of_the_nearest_kind() -> None:
    times = Times()
    assert times.left([cell()], 1) is None
    times.add(cell("MMoE"), 10.0)
    times.add(cell("PLE"), 30.0)
    times.add(cell("PLE", data="T"), 100.0)
    assert times.left([cell("MMoE", seed=1)], 1) == 10.0
    assert times.left([cell("MMoE", tests=False)], 1) == 10.0
    assert times.left([cell("STEMNet")], 1) == 20.0
    assert times.left([cell("MMoE", data="U")], 1) == pytest.approx(140 / 3)
    assert times.left([cell("MMoE"), cell("PLE")], 2) == 20.0


def ended(folder: Path, best: float | None) -> CellFolder:
    run = folder / "run" / "version_0"
    run.mkdir(parents=True)
    (run / "fit.json").write_text(json.dumps({"best": best, "mode": "max", "monitor": "val/auc_mean", "seconds": 3.0}))
    return CellFolder(folder)


def test_every_cell_has_a_line_and_counts_once(tmp_path: Path) -> None:
    """One of the search ends twice, trained and, as it was chosen, tested; one was done before; one fails."""
    screen = io.StringIO()
    searched, chosen, before, broken = cell(tests=False), cell(), cell("PLE"), cell("OMoE")
    with Report(Console(file=screen, width=200), 3, 1) as report:
        report.ended(before, ended(tmp_path / "before", 0.5), None)
        report.left([searched, broken], 1)
        report.ended(searched, ended(tmp_path / "searched", 0.75), 4.0)
        report.left([chosen, broken], 1)
        report.ended(chosen, CellFolder(tmp_path / "searched"), 2.0)
        failed = CellFolder(tmp_path / "broken")
        failed.path.mkdir()
        (failed.path / "log.txt").write_text("no such thing\n")
        failed.fail(3)
        report.ended(broken, failed, 1.0)
    lines = screen.getvalue().splitlines()
    assert (
        lines[0] == "[2/3] S  MMoE  seed 0  val/auc_mean 0.7500  4 s; about 4 s left"
    )  # the mean of 3 and 4, rounded to even
    assert lines[1].startswith("[2/3] S  MMoE  seed 0")
    assert lines[2].startswith("[3/3] S  OMoE  seed 0  FAILED with 3, see ")
    assert lines[3].strip() == "no such thing"
    assert len(lines) == 4
    assert list(report.failed) == [broken]
