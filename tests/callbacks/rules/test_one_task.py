"""One task alone: every rule, with every option, gives what its formula gives, in one group and in many."""

from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch

from mtlzoo.callbacks import rules
from mtlzoo.callbacks.rules import GradientRule, GramianRule, LossRule

LOSS, NORM = 0.75, 3.0
# What is not 1: a step of another length by definition.
EXPECTED: dict[str, float] = {
    "AlignedMTL preference=[2.0]": 2.0,
    "CAGrad": 1.5,
    "CAGrad rescale=1+c": 1.0,
    "CAGrad rescale=1+c^2": 1.5 / 1.25,
    "DBMTL": 1 / LOSS,
    "DualProj preference=[2.0]": 2.0,
    "FairGrad": 1 / NORM,
    "Fixed": 2.0,
    "NashMTL": 1 / NORM,
    "SDMGrad preference=[2.0]": (1 + 0.3 * 2.0) / 1.3,
    "UPGrad preference=[2.0]": 2.0,
}


def named(rule: type, given: dict[str, Any]) -> str:
    return " ".join([rule.__name__, *(f"{name}={value}" for name, value in given.items())])


def options(rule: Any) -> list[dict[str, Any]]:
    """Defaults, every word that an argument may be, and a number where there is one per task."""
    found: list[dict[str, Any]] = [] if rule in (rules.Fixed, rules.FixedWeights) else [{}]
    for name, hint in get_type_hints(rule.__init__).items():
        if get_origin(hint) is Literal:
            found += [{name: word} for word in get_args(hint)]
        elif name in ("preference", "weights"):
            found.append({name: [2.0], "form": "linear"} if rule is rules.STCH else {name: [2.0]})
    return found


def every(kind: type) -> list[Any]:
    classes = [getattr(rules, name) for name in rules.__all__]
    return [
        pytest.param(rule, given, id=named(rule, given))
        for rule in classes
        if issubclass(rule, kind) and rule is not kind
        for given in options(rule)
    ]


@pytest.mark.parametrize(("rule_class", "given"), every(GramianRule))
def test_gramian_rules(rule_class: Any, given: dict[str, Any]) -> None:
    expected = EXPECTED.get(named(rule_class, given), EXPECTED.get(rule_class.__name__, 1.0))
    losses = {"losses": torch.tensor([LOSS])}
    for shape, norms in (((), [NORM]), ((3,), [NORM, NORM, NORM]), ((2, 2), [NORM] * 4), ((0,), [])):
        rule = rule_class(**given)
        rule.allocate(len(norms), 1)
        gramian = torch.tensor(norms, dtype=torch.float64).square().reshape(*shape, 1, 1)
        for _ in range(2):
            weights = rule(gramian, **(losses if rule.needs_losses else {}))
            assert weights.shape == (*shape, 1)
            torch.testing.assert_close(weights, torch.full_like(weights, expected), rtol=1e-9, atol=0)
    silent = rule_class(**given)
    silent.allocate(2, 1)
    weights = silent(torch.tensor([[[0.0]], [[1.0]]]), **(losses if silent.needs_losses else {}))
    assert weights.isfinite().all()
    assert weights[1] > 0
    assert weights[0] == 0 or not silent.masks_inactive


@pytest.mark.parametrize(("rule_class", "given"), every(GradientRule))
def test_gradient_rules(rule_class: Any, given: dict[str, Any]) -> None:
    rule = rule_class(**given)
    gradient = torch.tensor([[1.0, -2.0, 0.0, 3.0]])
    for _ in range(2):
        made = rule(gradient, losses=torch.tensor([LOSS]) if rule.needs_losses else None)
        assert made.shape == (4,)
        assert torch.cosine_similarity(made, gradient[0], 0) > 1 - 1e-6
    assert not rule_class(**given)(0 * gradient, losses=torch.tensor([LOSS])).any()


@pytest.mark.parametrize(("rule_class", "given"), every(LossRule))
def test_loss_rules(rule_class: Any, given: dict[str, Any]) -> None:
    rule = rule_class(**given)
    for loss in (LOSS, 0.5):
        rule.allocate(1)
        weights = rule(torch.tensor([loss]))
        assert weights.shape == (1,)
        assert weights.isfinite().all()
        assert weights > 0
        if rule.needs_losses_after_step:
            rule.update(torch.tensor([loss]))
        rule.end_epoch()
