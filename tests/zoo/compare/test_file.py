from pathlib import Path

import pytest

from mtlzoo.compare.comparison import Comparison, combined, simplex
from mtlzoo.compare.file import read_comparison
from mtlzoo.compare.options import words_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "compare.yaml"


def read(path: Path, text: str) -> Comparison:
    path.write_text(text)
    return read_comparison(path)


def test_names_are_enough(path: Path) -> None:
    found = read(path, "data: Synthetic\nmodels: [MMoE, PLE]\n")
    assert [words_of(part.options) for part in (*found.data, *found.models)] == [
        ["--data=Synthetic"],
        ["--model=MMoE"],
        ["--model=PLE"],
    ]
    assert (found.rules, found.seeds, found.grid, found.lattice) == ((None,), (0,), ((),), ())
    assert found.baseline is not None
    assert found.baseline.name == "SingleTask"


def test_everything_that_a_file_may_say(path: Path) -> None:
    found = read(
        path,
        """
data:
  - {name: Kuai, config: KuaiRand, overrides: {root: data/k, batch_size: 64, model.lr: 2e-3, preset: none}}
models:
  - name: big
    config: configs/model/mmoe.yaml
    overrides:
      experts: 8
      tower_units: [16, 8]
rules:
  - null
  - PCGrad
  - FAMO
  - {name: rows, config: configs/callbacks/pmtrec.yaml, overrides: {level: row, rule.alpha: 0.1}}
seeds: [3, 1]
common:
  config: [configs/logger/wandb.yaml]
  trainer:
    max_epochs: 2
    callbacks+: [{class_path: EMAWeightAveraging, init_args: {decay: 0.9}}]
  patience: null
tune: {grid: {model.lr: [1e-3, 2e-3], model: {dropout: [0.0, 0.1]}}, seeds: [3]}
baseline: big
""",
    )
    assert words_of(found.data[0].options) == [
        "--data=KuaiRand",
        "--data.root=data/k",
        "--data.batch_size=64",
        "--model.lr=2e-3",
        "--preset=none",
    ]
    assert words_of(found.models[0].options) == [
        "--model=configs/model/mmoe.yaml",
        "--model.experts=8",
        "--model.tower_units=[16, 8]",
    ]
    assert [None if rule is None else words_of(rule.options) for rule in found.rules] == [
        None,
        ["--trainer.callbacks+=GradientSurgery", "--trainer.callbacks.rule=PCGrad"],
        ["--trainer.callbacks+=LossBalancing", "--trainer.callbacks.rule=FAMO"],
        [
            "--config=configs/callbacks/pmtrec.yaml",
            "--trainer.callbacks.level=row",
            "--trainer.callbacks.rule.alpha=0.1",
        ],
    ]
    assert words_of(found.common) == [
        "--config=configs/logger/wandb.yaml",
        "--trainer.max_epochs=2",
        '--trainer.callbacks+=[{"class_path": "EMAWeightAveraging", "init_args": {"decay": 0.9}}]',
        "--patience=null",
    ]
    assert found.seeds == (3, 1)
    assert found.tuning_seeds == (3,)
    assert [words_of(chosen) for chosen in found.grid] == [
        [f"--model.lr={lr}", f"--model.dropout={dropout}"] for lr in ("1e-3", "2e-3") for dropout in ("0.0", "0.1")
    ]
    assert found.baseline is found.models[0]


def test_the_baseline_is_added_once(path: Path) -> None:
    def compared(text: str) -> list[tuple[str, str | None]]:
        return [(model.name, None if rule is None else rule.name) for _, model, rule, _ in combined(read(path, text))]

    assert compared("data: S\nmodels: [MMoE]\n") == [("SingleTask", None), ("MMoE", None)]
    assert compared("data: S\nmodels: [MMoE, SingleTask]\n") == [("MMoE", None), ("SingleTask", None)]
    # With rules alone the baseline lacks its own cell without one.
    assert compared("data: S\nmodels: [MMoE]\nrules: [PCGrad]\nbaseline: MMoE\n") == [
        ("MMoE", None),
        ("MMoE", "PCGrad"),
    ]
    assert compared("data: S\nmodels: [MMoE]\nbaseline: null\n") == [("MMoE", None)]


@pytest.mark.parametrize(("tasks", "points", "number"), [("ab", 9, 9), ("ab", 1, 1), ("abc", 4, 6), ("abc", 2, 1)])
def test_the_lattice_lies_inside_of_the_simplex(tasks: str, points: int, number: int) -> None:
    found = simplex(list(tasks), points)
    assert len(found) == number
    for weights in found:
        assert list(weights) == list(tasks)
        assert min(weights.values()) > 0
        assert sum(weights.values()) == pytest.approx(len(tasks), abs=1e-5)


def test_the_frontier_is_of_models_that_share(path: Path) -> None:
    text = "data: S\nmodels: [MMoE, SingleTask]\nfrontier: {tasks: [a, b], weights: 3}\n"
    found = [(model.name, weights) for _, model, _, weights in combined(read(path, text)) if weights]
    assert [name for name, _ in found] == ["MMoE"] * 3
    assert found[0][1] == {"a": 0.5, "b": 1.5}


WRONG = {
    "models: [MMoE]\n": (1, "data is missing"),
    "data: S\nmodels: [MMoE]\nseed: [0]\n": (3, "Did you mean 'seeds'?"),
    "data: S\nmodels: [MMoE, MMoE]\n": (2, "'MMoE' stands twice"),
    "data: S\nmodels:\n  - MMoE\n  - {name: MMoE, config: PLE}\n": (4, "'MMoE' stands twice, first in line 3"),
    "data: S\nmodels: [MMoE]\nmodels: [PLE]\n": (3, "'models' stands twice, first in line 2"),
    "data: S\nmodels: []\n": (2, "model is empty"),
    "data: S\nmodels: [{config: MMoE, override: {}}]\n": (2, "Did you mean 'overrides'?"),
    "data: S\nmodels: [{overrides: {lr: 1}}]\n": (2, "has no name"),
    "data: S\nmodels: [3]\n": (2, "names of classes"),
    "data: S\nmodels: [MMoE]\nrules: [PCGard]\n": (3, "Did you mean 'PCGrad'?"),
    "data: S\nmodels: [MMoE]\nrules: [null, null]\n": (3, "null stands twice"),
    "data: S\nmodels: [MMoE]\nseeds: [0, 0]\n": (3, "each may stand once"),
    "data: S\nmodels: [MMoE]\nseeds: [0, -1]\n": (3, "seed -1"),
    "data: S\nmodels: [MMoE]\nseeds: [true]\n": (3, "seed True"),
    "data: S\nmodels: [MMoE]\ncommon:\n  seed_everything: 1\n": (4, "set by the comparison"),
    "data: S\nmodels: [MMoE]\ncommon: {trainer: {default_root_dir: x}}\n": (3, "set by the comparison"),
    "data: S\nmodels: [MMoE]\ntune: {grid: {}}\n": (3, "tune has no grid"),
    "data: S\nmodels: [MMoE]\ntune:\n  grid:\n    model.lr: []\n": (5, "grid of model.lr is empty"),
    "data: S\nmodels: [MMoE]\nfrontier: {tasks: [a]}\n": (3, "at least two"),
    "data: S\nmodels: [MMoE]\nfrontier: {tasks: [a, b, c], weights: 1}\n": (3, "too few for 3 tasks"),
    "data: S\nmodels: [MMoE\n": (3, "no YAML"),
    "- data\n": (1, "allowed is a mapping"),
    "": (1, "data is missing"),
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_entry_is_told_with_its_line(path: Path, text: str) -> None:
    line, message = WRONG[text]
    with pytest.raises(ValueError, match=r"compare\.yaml") as error:
        read(path, text)
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert message in str(error.value)


def test_anchors_may_be_merged(path: Path) -> None:
    text = "data: S\nmodels:\n  - {name: a, config: MMoE, overrides: &o {lr: 1, experts: 2}}\n"
    text += "  - {name: b, config: PLE, overrides: {<<: *o, lr: 3}}\n"
    assert words_of(read(path, text).models[1].options) == ["--model=PLE", "--model.lr=3", "--model.experts=2"]
