"""Gradient surgery from the command line: short names, config.yaml, names of runs, resume, help and errors."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from mtlzoo.cli import main

Run = Callable[..., str]
SURGERY = ["--trainer.callbacks+=GradientSurgery"]
BALANCING = ["--trainer.callbacks+=LossBalancing"]


def every_task_once(gramian: Tensor) -> Tensor:
    """A rule of somebody's own."""
    return torch.ones(len(gramian))


class Scaled:
    """One with an argument."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, gramian: Tensor) -> Tensor:
        return torch.full((len(gramian),), self.factor)


def words(path: str, *options: str) -> list[str]:
    return [*SURGERY, f"--trainer.callbacks.rule={path}", *(f"--trainer.callbacks.{option}" for option in options)]


@pytest.mark.slow
def test_the_config_of_a_run_says_all_and_a_resumed_run_ends_as_an_uninterrupted_one(options: list[str]) -> None:
    """GradVac keeps targets per row and the number of its random draws."""
    callback = words("GradVac", "rule.beta=0.3", "level=row")
    main(["fit", *options, *callback, "--trainer.max_epochs", "2"])
    whole, parts = (Path(f"{root}/Synthetic-MMoE-GradVac-beta=0.3-row-s0/version_0") for root in ("runs", "parts"))
    (written,) = yaml.safe_load((whole / "config.yaml").read_text())["trainer"]["callbacks"]
    rule = {"class_path": "mtlzoo.callbacks.GradVac", "init_args": {"beta": 0.3, "order": "random", "seed": 0}}
    assert written["class_path"] == "mtlzoo.callbacks.GradientSurgery"
    assert written["init_args"].items() >= {"rule": rule, "level": "row"}.items()

    main(["fit", *options, *callback, "--trainer.max_epochs", "1", "--trainer.default_root_dir", "parts"])
    last = ["--ckpt_path", "last", "--trainer.max_epochs", "2"]
    main(["fit", "-c", str(parts / "config.yaml"), *last])
    ends = [torch.load(folder / "checkpoints/last.ckpt", weights_only=True) for folder in (whole, parts)]
    states = [end["callbacks"]["GradientSurgery"]["vectors"][0]["rule"] for end in ends]
    assert states[0]["targets"].any()
    for tensors in ([end["state_dict"] for end in ends], states):
        assert tensors[0].keys() == tensors[1].keys()
        torch.testing.assert_close(tensors[0], tensors[1], rtol=0, atol=0)


@pytest.mark.slow
def test_rules_of_ones_own_go_by_their_path(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    shutil.copy(__file__, tmp_path / "own_rules.py")
    quick = [*options, "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"]
    main(["fit", *quick, *words("own_rules.every_task_once")])
    main(["fit", *quick, *words("own_rules.Scaled", "rule.factor=0.5")])
    folders = [
        Path("runs") / f"Synthetic-MMoE-{name}-s0/version_0" for name in ("every_task_once", "Scaled-factor=0.5")
    ]
    surgery = [
        torch.load(f / "checkpoints/last.ckpt", weights_only=True)["callbacks"]["GradientSurgery"] for f in folders
    ]
    assert [float(state["vectors"][0]["weights"].mean()) for state in surgery] == [1.0, 0.5]
    for folder in folders:
        main(["test", "-c", str(folder / "config.yaml"), "--ckpt_path", "last"])
        assert f'"rule": "{folder.parent.name.split("-")[2]}"' in (folder / "results.json").read_text()


def test_help_names_the_rules_and_their_options(run: Run) -> None:
    printed = run("fit", "--trainer.callbacks.help", "GradientSurgery", code=0)
    assert all(
        name in printed for name in ("mtlzoo.callbacks.PCGrad", "mtlzoo.callbacks.GradDrop", "{model,parameter,row}")
    )
    assert "Tensor," not in printed.partition("known subclasses")[2]
    assert "{random,fixed,mean}" in run("fit", *SURGERY, "--trainer.callbacks.rule.help=PCGrad", code=0)


@pytest.mark.parametrize(
    ("callback", "said"),
    [
        (words("PCGrat"), "--trainer.callbacks.rule: no class or file 'PCGrat'. Did you mean 'PCGrad'? Known are Al"),
        (
            words("UW"),
            "MetaBalance, MoCo, NashMTL, PCD, PCGrad, PMTRecRule, SDMGrad, Sum, UPGrad. UW is a rule of LossBalancing.",
        ),
        ([*BALANCING, "--trainer.callbacks.rule=PCGrad"], "STCH, UW. PCGrad is a rule of GradientSurgery."),
        (words("mtlzoo.callbacks.UW"), "UW weighs losses; use LossBalancing(UW(...))."),
        (words("nowhere.Rule"), "--trainer.callbacks.rule: No module named 'nowhere'"),
        (SURGERY, "--trainer.callbacks.rule is required: AlignedMTL, CAGrad, ConFIG"),
        (words("Fixed"), "--trainer.callbacks.rule.weights is required."),
        (
            words("PCGrad", "rule.order=fixd"),
            "--trainer.callbacks.rule.order: Expected a typing.Literal['random', 'fixed'",
        ),
        (
            words("PCGrad", "rule.ordr=fixed"),
            "rule.ordr: PCGrad has no option 'ordr'. Did you mean 'order'? Known are order, seed.",
        ),
        (
            words("PCGrad", "level=rows"),
            "--trainer.callbacks.level: Expected a typing.Literal['model', 'parameter', 'row'].",
        ),
        (words("GradVac", "rule.beta=3"), "error: GradVac: beta=3.0 is not possible; allowed: 0 to 1."),
        (words("GradDrop", "every_n_steps=2"), "every_n_steps=2 with level='model' and GradDrop; allowed are 1"),
        (["--trainer.callbacks.rule=PCGrad"], "--trainer.callbacks.rule: of which class? Say that before it"),
    ],
    ids=lambda value: value[-1].rpartition("=")[2] if isinstance(value, list) else "",
)
def test_wrong_rules(run: Run, options: list[str], callback: list[str], said: str) -> None:
    printed = run("fit", *options, *callback, code=2)
    assert said in printed
    assert len(printed) < 500
    assert not Path("runs").exists()
