"""A training with surgery that is killed and resumed ends with the same bits, for every rule."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_on_ranks

from mtlzoo.callbacks import rules

SCRIPT = Path(__file__).parents[1] / "killed_script.py"
RULES = sorted(
    name
    for name, rule in vars(rules).items()
    if isinstance(rule, type)
    and issubclass(rule, rules.GramianRule | rules.GradientRule | rules.LossRule)
    and rule not in (rules.GramianRule, rules.GradientRule, rules.LossRule)
)


def model_level_alone(rule: str) -> bool:
    """Whether it has the level of the model alone."""
    return bool(getattr(getattr(rules, rule), "whole", False))


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Places where two nested states are not the same bits."""
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, other) else [place]
    if isinstance(one, dict):
        different = [place] if one.keys() != other.keys() else []
        return different + [
            d for key in one.keys() & other.keys() for d in differences(one[key], other[key], f"{place}/{key}")
        ]
    if isinstance(one, list | tuple):
        different = [place] if len(one) != len(other) else []
        return different + [
            d for i, (a, b) in enumerate(zip(one, other, strict=False)) for d in differences(a, b, f"{place}/{i}")
        ]
    return [] if one == other else [place]


@pytest.mark.slow
@pytest.mark.parametrize("level", ["model", "row"])
def test_a_killed_training_resumes_to_the_same_bits(tmp_path: Path, level: str) -> None:
    by_row = [
        name for name in RULES if not issubclass(getattr(rules, name), rules.LossRule) and not model_level_alone(name)
    ]
    names = RULES if level == "model" else by_row
    run_on_ranks(SCRIPT, 1, str(tmp_path), level, *names)
    ends = json.loads((tmp_path / "ends.json").read_text())
    assert ends == {name: [0, -signal.SIGKILL, 0] for name in names}
    for name in names:
        whole, resumed = (torch.load(tmp_path / f"{name}.{end}.pt", weights_only=True) for end in ("whole", "resumed"))
        assert not differences(whole, resumed), f"{name}: {differences(whole, resumed)}"
