"""N gloo processes with gradient surgery equal one process on the same global batches."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_on_ranks, saved_by_ranks

from mtlzoo.callbacks import rules

SCRIPT = Path(__file__).with_name("surgery_script.py")
NAMED = "{}: {}".format
RULES = sorted(
    name
    for name, rule in vars(rules).items()
    if isinstance(rule, type)
    and issubclass(rule, rules.GramianRule | rules.GradientRule)
    and rule not in (rules.GramianRule, rules.GradientRule)
)
OPTIONS: dict[str, dict[str, Any]] = {"Fixed": {"weights": [0.5, 1.0, 2.0]}}
NETWORK = {"expert_units": [6], "tower_units": [4], "lr": 0.003, "optimizer": "sgd"}


def run(folder: Path, world_size: int, cases: list[dict[str, Any]]) -> list[list[dict[str, torch.Tensor]]]:
    """Weights of every case, by rank."""
    folder.mkdir()
    run_on_ranks(SCRIPT, world_size, str(folder), json.dumps(cases))
    return saved_by_ranks(folder, world_size)


def case(rule: str, level: str, *, sparse: bool, model: str = "MMoE", **more: Any) -> dict[str, Any]:
    arguments = NETWORK | {"sparse": sparse} | ({"experts": 2} if model == "MMoE" else {}) | more.pop("arguments", {})
    if model == "SharedBottom":
        arguments["bottom_units"] = arguments.pop("expert_units")
    options = OPTIONS.get(rule, {})
    return {"rule": rule, "options": options, "level": level, "model": model, "arguments": arguments, **more}


def whole(rule: str) -> bool:
    """Whether it has a state of all shared parameters: level ``model`` and dense tables alone."""
    return bool(getattr(getattr(rules, rule), "whole", False))


def compare(folder: Path, world_size: int, cases: list[dict[str, Any]], tolerance: float = 1e-8) -> None:
    cases = [{"steps": 50, "batch_size": 24} | one for one in cases]
    (single,) = run(folder / "one", 1, cases)
    for rank in run(folder / "many", world_size, cases):
        for one, got, wanted in zip(cases, rank, single, strict=True):
            for name, weight in wanted.items():
                torch.testing.assert_close(
                    got[name],
                    weight,
                    rtol=tolerance,
                    atol=tolerance,
                    msg=partial(NAMED, f"{one['rule']} {one['level']} {name}"),
                )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world_size", "level", "sparse"), [(2, "model", False), (3, "parameter", True), (2, "row", True)]
)
def test_ranks_equal_one_for_every_rule(tmp_path: Path, world_size: int, level: str, sparse: bool) -> None:
    served = [rule for rule in RULES if not whole(rule) or (level == "model" and not sparse)]
    compare(tmp_path, world_size, [case(rule, level, sparse=sparse) for rule in served])


@pytest.mark.slow
@pytest.mark.parametrize(("world_size", "level", "sparse"), [(3, "model", True), (2, "parameter", False)])
def test_ranks_equal_one_in_the_other_forms(tmp_path: Path, world_size: int, level: str, sparse: bool) -> None:
    some = ("PCGrad", "GradVac", "MetaBalance", "UPGrad", "GradDrop")
    cases = [case(rule, level, sparse=sparse) for rule in some] + [case(rule, "row", sparse=False) for rule in some]
    compare(tmp_path, world_size, cases)


@pytest.mark.slow
def test_three_ranks_equal_one_in_every_model_and_form(tmp_path: Path) -> None:
    compare(
        tmp_path,
        3,
        [
            case("PCGrad", "row", sparse=True, model="PLE", arguments={"levels": 2}),
            case("UPGrad", "model", sparse=True, model="SharedBottom"),
            case("GradVac", "row", sparse=False, arguments={"accumulate": 2}),
            case("PCGrad", "model", sparse=True, arguments={"accumulate": 3, "clip_norm": 0.1}),
            case("AlignedMTL", "model", sparse=True, every_n_steps=3),
            case("MGDA", "model", sparse=True, at="representation"),
            case("MetaBalance", "parameter", sparse=False, every_n_steps=1, arguments={"optimizer": "adam"}),
        ],
    )
