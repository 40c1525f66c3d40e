"""Surgery on STEM-Net: what a task owns gets that task's plain gradient; the rule sees and changes what is shared."""

import copy
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR
from recorder import Keep
from reference import expected, jacobian
from torch import Tensor, nn

from mtlzoo import STEMNet
from mtlzoo.callbacks import GradientSurgery, rules

sys.path.insert(0, str(Path(__file__).parents[2] / "zoo"))

from train_script import SCHEMA, InMemory

LEVELS = ("model", "parameter", "row")
OPTIONS: dict[str, dict[str, Any]] = {"Fixed": {"weights": [1.0, 2.0, 3.0]}}
RULES = [
    name
    for name in rules.__all__
    if issubclass(rule := getattr(rules, name), rules.GramianRule | rules.GradientRule)
    and rule not in (rules.GramianRule, rules.GradientRule)
]
DEPTHS: dict[str, dict[str, Any]] = {
    "one layer": {},
    "two layers, task gates": {"layers": 2, "shared_stream": "stopped", "gate_input": "task"},
}


class Case:
    """One step with a rule: what every task's gradient is by plain autograd, and what surgery made of them."""

    def __init__(self, rule: Any, level: Any, **options: Any) -> None:
        torch.manual_seed(0)
        module = STEMNet(
            SCHEMA, embedding_dim=4, task_experts=2, shared_experts=2, expert_units=[6], tower_units=[4], **options
        ).double()
        with torch.no_grad():  # tables start at 1e-4, where the tasks hardly differ
            for table in module.tables().values():
                table.normal_()
        twin = copy.deepcopy(module)
        keep, self.surgery = Keep(), GradientSurgery(rule, level=level)
        off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        quiet: dict[str, Any] = dict.fromkeys(off, False)
        trainer = L.Trainer(
            accelerator=ACCELERATOR,
            precision="64-true",
            max_steps=1,
            limit_val_batches=0,
            callbacks=[self.surgery, keep],
            **quiet,
        )
        trainer.fit(module, InMemory(64))
        self.got = keep.gradients
        self.parameters: dict[str, Tensor] = dict(twin.named_parameters())
        self.tables = list(twin.tables())
        self.found = jacobian(twin.task_losses(keep.batch), self.parameters)

    def owner(self, name: str) -> int | None:
        """The task that a parameter belongs to by its name; None if it is everybody's."""
        parts = name.split(".")
        for own in ("tasks", "task_experts", "gates", "towers"):
            if own in parts:
                return int(parts[parts.index(own) + 1])
        assert {"shared", "shared_experts", "shared_gate"} & set(parts), name
        return None


def cases() -> Iterator[tuple[str, str]]:
    """Every rule, and at other levels those that work on gradients themselves, and one of those on Gramians."""
    for name in RULES:
        rule = getattr(rules, name)
        yield name, "model"
        if name == "PCGrad" or not (issubclass(rule, rules.GramianRule) or getattr(rule, "whole", False)):
            yield from ((name, level) for level in LEVELS[1:])


@pytest.mark.parametrize(("rule", "level"), [*cases()])
def test_only_what_is_shared_is_touched(rule: str, level: str) -> None:
    check(Case(getattr(rules, rule)(**OPTIONS.get(rule, {})), level, sparse=level == "row"))


def test_a_stopped_shared_stream_keeps_the_tasks_apart_at_any_depth() -> None:
    check(Case(rules.PCGrad(), "model", layers=3, shared_stream="stopped"))


def check(case: Case) -> None:
    """Own parameters have their task's plain gradient, and the rule saw all the others and no more."""
    total = torch.zeros(3, 3, dtype=torch.float64)
    for name, gradients in case.found.items():
        reached = [t for t, gradient in enumerate(gradients) if gradient is not None]
        if (task := case.owner(name)) is not None:
            assert reached == [task], f"{name} is reached by {reached}"
            (own,) = (gradient for gradient in gradients if gradient is not None)
            assert torch.equal(case.got[name], own), name
        else:
            assert reached == [0, 1, 2], f"{name} is reached by {reached}"
            rows = torch.stack([g for g in gradients if g is not None]).flatten(1)
            total += rows @ rows.T
    if case.surgery.gramians is not None:  # a gradient rule takes none
        torch.testing.assert_close(case.surgery.gramians.sum(0), total, rtol=1e-10, atol=0)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    "rule", [rules.MGDA(), rules.UPGrad(), rules.PCGrad("fixed")], ids=lambda rule: type(rule).__name__
)
@pytest.mark.parametrize("options", [*DEPTHS.values(), {"layers": 2}], ids=[*DEPTHS, "two layers, leaky"])
def test_what_is_shared_gets_the_rules_gradient(
    options: dict[str, Any], rule: nn.Module, sparse: bool, level: str
) -> None:
    case = Case(copy.deepcopy(rule), level, sparse=sparse, **options)
    wanted = expected(case.found, case.parameters, case.tables, copy.deepcopy(rule), level)
    assert set(case.got) == set(wanted)
    for name, gradient in wanted.items():
        torch.testing.assert_close(case.got[name], gradient, rtol=1e-9, atol=1e-12, msg=partial("{}: {}".format, name))


def test_the_leak_of_several_layers_shares_the_tables() -> None:
    """As in the authors' code: with two layers every task trains every table."""
    case = Case(rules.Sum(), "model", layers=2)
    tables = [gradients for name, gradients in case.found.items() if name in case.tables]
    assert len(tables) == 4
    assert all(gradient is not None for gradients in tables for gradient in gradients)
