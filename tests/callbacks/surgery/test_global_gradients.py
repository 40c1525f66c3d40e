"""N gloo processes with gradient surgery equal one process on the same global batches."""

from pathlib import Path

import pytest
from surgery_cases import case, compare

from mtlzoo.callbacks import rules

RULES = sorted(
    name
    for name, rule in vars(rules).items()
    if isinstance(rule, type)
    and issubclass(rule, rules.GramianRule | rules.GradientRule)
    and rule not in (rules.GramianRule, rules.GradientRule)
)


def whole(rule: str) -> bool:
    """Whether it has a state of all shared parameters: level ``model`` and dense tables alone."""
    return bool(getattr(getattr(rules, rule), "whole", False))


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
