"""Every rule on Gramians, found by what `mtlzoo.callbacks.rules` exports, and gradients of every kind for them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mtlzoo.callbacks import rules
from mtlzoo.callbacks.rules import GramianRule

Build = Callable[[int], GramianRule]


SIZES = (2, 3, 7, 16)


# Rules whose defaults don't say all; the others are built without arguments.
VARIANTS: dict[str, dict[str, Build]] = {
    "AlignedMTL": {
        "min": lambda tasks: rules.AlignedMTL(),
        "median": lambda tasks: rules.AlignedMTL("median"),
        "rmse, preference": lambda tasks: rules.AlignedMTL("rmse", [1.0 + t for t in range(tasks)]),
    },
    "ConFIG": {
        "equal": lambda tasks: rules.ConFIG(),
        "preference": lambda tasks: rules.ConFIG([1.0 + t for t in range(tasks)]),
    },
    "Fixed": {"1..T": lambda tasks: rules.Fixed([1.0 + t for t in range(tasks)])},
    "GradNorm": {"fast": lambda tasks: rules.GradNorm(lr=1.0)},
    "MetaBalance": {
        "both": lambda tasks: rules.MetaBalance(main_task=1),
        "reduce": lambda tasks: rules.MetaBalance(strategy="reduce"),
        "enlarge": lambda tasks: rules.MetaBalance(strategy="enlarge"),
    },
    "PCGrad": {
        "random": lambda tasks: rules.PCGrad(),
        "fixed": lambda tasks: rules.PCGrad("fixed"),
        "mean": lambda tasks: rules.PCGrad("mean"),
    },
    "PMTRecRule": {
        "plain": lambda tasks: rules.PMTRecRule(tau=0.5),
        "masked": lambda tasks: rules.PMTRecRule(main_task=1, mask_untouched=True),
    },
}


def builders() -> list[Any]:
    found = []
    for name in rules.__all__:
        exported = getattr(rules, name)
        if isinstance(exported, type) and issubclass(exported, GramianRule) and exported is not GramianRule:
            for variant, build in VARIANTS.get(name, {"": lambda tasks, rule=exported: rule()}).items():
                found.append(pytest.param(build, id=f"{name} {variant}".strip()))
    return found


def remembers(rule: GramianRule) -> bool:
    """Whether a call can depend on those before it: orders that are not drawn don't, nor do weights that are given."""
    return bool(rule.state_dict()) and getattr(rule, "order", "random") == "random"


def some(which: Callable[[GramianRule], object]) -> list[Any]:
    return [case for case in builders() if which(case.values[0](4))]


def catalogue(tasks: int) -> tuple[list[str], Tensor]:
    """Gradients [N, T, d] that ordinary, sparse and broken training gives, and what they are."""
    generator = torch.Generator().manual_seed(tasks)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    width = 2 * tasks + 3
    plain = random(tasks, width)
    scales = torch.logspace(-12, 12, tasks, dtype=torch.float64)[torch.randperm(tasks, generator=generator)]
    mild = torch.logspace(-2, 2, tasks, dtype=torch.float64)[:, None]
    silent, alone, equal, opposite, parallel = (plain.clone() for _ in range(5))
    silent[1] = 0.0
    alone[1:] = 0.0
    equal[-1] = equal[0]
    opposite[-1] = -opposite[0]
    parallel[-1] = 3.0 * parallel[0]
    found = {
        "plain": plain,
        "conflicts": plain - 1.2 * plain.mean(0),
        "tiny": 1e-12 * plain,
        "huge": 1e12 * plain,
        "scales": mild * plain,
        "far scales": scales[:, None] * plain,
        "one silent": silent,
        "all but one silent": alone,
        "silent": torch.zeros_like(plain),
        "equal": equal,
        "all equal": plain[:1].expand(tasks, -1),
        "opposite": opposite,
        "parallel": parallel,
        "rank": random(tasks, max(1, tasks // 2)) @ random(max(1, tasks // 2), width),
        "line": random(tasks, 1) * random(1, width),
        "right angles": torch.eye(tasks, width, dtype=torch.float64),
    }
    return list(found), torch.stack(list(found.values()))


def solve(rule: GramianRule, gramian: Tensor, groups: Tensor | None = None, order: Tensor | None = None) -> Tensor:
    """Weights, with losses where needed; a rule that refuses so many tasks skips the test."""
    losses = torch.linspace(0.3, 0.9, gramian.shape[-1], dtype=torch.float64)
    losses = losses if order is None else losses[order]
    given = {"losses": losses} if rule.needs_losses else {}
    try:
        return rule(gramian, groups=groups, **given)  # type: ignore[no-any-return]
    except ValueError as error:
        if "at most" in str(error):
            pytest.skip(str(error))
        raise


def built(build: Build, groups: int, tasks: int) -> GramianRule:
    rule = build(tasks)
    rule.allocate(groups, tasks)
    return rule


def calls(rule: GramianRule) -> range:
    """Two where the second may differ from the first."""
    return range(2 if remembers(rule) else 1)


def same_gradient(ours: Tensor, expected: Tensor, rows: Tensor, names: list[str]) -> None:
    """J^T w agrees beside the lengths of its parts: weights may differ where gradients depend on each other."""
    parts = (expected.abs() * rows.norm(dim=-1)).amax(-1)
    distance = ((ours - expected)[..., None] * rows).sum(-2).norm(dim=-1)
    for name, off, part in zip(names, distance.tolist(), parts.tolist(), strict=True):
        assert off <= 1e-7 * part, f"{name}: off by {off}, beside parts of {part}"
