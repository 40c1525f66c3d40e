import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from mtlzoo.compare.file import read_comparison
from mtlzoo.compare.matrix import Cell, Checked, Matrix
from mtlzoo.compare.options import Option

TASKS = ("a", "b", "c")


def check(options: Sequence[Option]) -> Checked:
    """As the command line would: the last of equal options counts."""
    values = {option.name: option.value for option in options}
    config = {"trainer": {"logger": values.pop("trainer.logger", None)}, **values}
    return Checked(f"{values['data']}-{values['model']}", config, TASKS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "compare.yaml"


def made(path: Path, text: str) -> Matrix:
    path.write_text(text)
    return Matrix(read_comparison(path), check)


def unknown(cell: Cell) -> float | None:
    return None


def test_every_combination_is_a_cell(path: Path) -> None:
    matrix = made(path, "data: [S, T]\nmodels: [MMoE, PLE]\nrules: [null, PCGrad]\nseeds: [0, 1, 2]\n")
    cells = matrix.wanted(unknown)
    assert len(cells) == len(matrix) == 2 * (2 * 2 + 1) * 3
    assert len({cell.folder for cell in cells}) == len(cells)
    assert [cell.seed for cell in cells] == [0] * 10 + [1] * 10 + [2] * 10
    assert [cell.contender.name for cell in cells[:5]] == ["SingleTask", "MMoE", "MMoE + PCGrad", "PLE", "PLE + PCGrad"]


def test_options_of_the_rule_come_last(path: Path) -> None:
    text = "data: S\nmodels: [MMoE]\nrules: [{name: r, config: PCGrad, overrides: {level: row}}]\nbaseline: null\n"
    text += "common: {trainer.callbacks+: Other}\ntune: {grid: {model.lr: [1, 2]}}\n"
    words = made(path, text).wanted(unknown)[1].words
    assert words == [
        *("--trainer.callbacks+=Other", "--data=S", "--model=MMoE", "--model.lr=2"),
        *("--trainer.callbacks+=GradientSurgery", "--trainer.callbacks.rule=PCGrad", "--trainer.callbacks.level=row"),
        "--seed_everything=0",
    ]


def test_files_share_what_they_run_alike(path: Path) -> None:
    one = made(path, "data: S\nmodels: [{name: mine, config: MMoE, overrides: {lr: 1}}]\nseeds: [0, 1]\n")
    other = made(
        path, "data: S\nmodels: [MMoE]\ncommon: {model.lr: 1, trainer.logger: x}\nseeds: [1, 2]\nbaseline: null\n"
    )
    folders = [{cell.folder for cell in matrix.wanted(unknown)} for matrix in (one, other)]
    assert folders[0] & folders[1] == {one.finals(one.contenders[1], ())[1].folder}
    different = made(path, "data: S\nmodels: [MMoE]\ncommon: {model.lr: 2}\nseeds: [0, 1]\n")
    assert not folders[0] & {cell.folder for cell in different.wanted(unknown)}


def test_options_are_chosen_by_validation(path: Path) -> None:
    text = "data: S\nmodels: [MMoE]\nseeds: [0, 1]\ntune: {grid: {model.lr: [1, 2, 3]}, seeds: [0, 7]}\n"
    matrix = made(path, text)
    scores: dict[str, float] = {}

    def score(cell: Cell) -> float | None:
        return scores.get(cell.folder)

    search = matrix.wanted(score)
    assert len(search) == 2 * 3 * 2
    assert not any(cell.tests for cell in search)
    for cell in matrix.searched(matrix.contenders[1]):
        scores[cell.folder] = {"1": 0.6, "2": 0.8, "3": 0.7}[cell.chosen[0].value] - 0.3 * (cell.seed == 7)
    scores[matrix.searched(matrix.contenders[1])[2].folder] = -math.inf  # seed 0 of 2 fails
    (lr,) = matrix.chosen(matrix.contenders[1], score) or ()
    assert lr.value == "3"
    finals = [cell for cell in matrix.wanted(score) if cell.tests]
    assert [(cell.contender.name, cell.seed, cell.chosen) for cell in finals] == [
        ("MMoE", 0, (lr,)),
        ("MMoE", 1, (lr,)),
    ]
    # Seed 0 of the chosen rate is trained already, and is tested in the same folder.
    assert finals[0].folder in {cell.folder for cell in search}
    assert len(matrix) == 12 + 2
    for cell in matrix.searched(matrix.contenders[0]):
        scores[cell.folder] = -math.inf
    assert matrix.chosen(matrix.contenders[0], score) is None


def test_points_of_the_frontier_weigh_the_tasks_in_their_order(path: Path) -> None:
    matrix = made(path, "data: S\nmodels: [MMoE]\nfrontier: {tasks: [c, a], weights: 3}\n")
    points = [contender for contender in matrix.contenders if contender.weights]
    assert [contender.rule_options[-1].value for contender in points] == [
        "[1.5, 1.0, 0.5]",
        "[1.0, 1.0, 1.0]",
        "[0.5, 1.0, 1.5]",
    ]
    assert points[0].name == "MMoE, c 0.5 a 1.5"
    assert points[0].rule == "sum"
    with pytest.raises(ValueError, match=r"compare.yaml:3: frontier: \['d'\] are no tasks of S: \['a', 'b', 'c'\]"):
        made(path, "data: S\nmodels: [MMoE]\nfrontier: {tasks: [d, a], weights: 3}\n")
