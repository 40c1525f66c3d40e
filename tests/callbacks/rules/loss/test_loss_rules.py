"""Rules on losses: behaviour, scales, resuming."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from saved import saved_and_loaded
from torch import Tensor

from mtlzoo.callbacks.rules import DWA, FAMO, GLS, IMTLL, RLW, STCH, UW, Equal, FixedWeights, LossRule

F64 = torch.float64
LOSS_RULES: dict[str, Callable[[], LossRule]] = {
    "DWA": DWA,
    "Equal": Equal,
    "FAMO": FAMO,
    "FixedWeights": lambda: FixedWeights([1.0, -2.0, 0.5]),
    "GLS": GLS,
    "IMTLL": IMTLL,
    "RLW": lambda: RLW(3),
    "STCH": lambda: STCH(0.5, warmup_epochs=1),
    "STCH linear": lambda: STCH(0.5, "linear"),
    "UW": lambda: UW(0.01),
}
each_rule = pytest.mark.parametrize("build", LOSS_RULES.values(), ids=LOSS_RULES)


def train(rule: LossRule, epochs: int, seed: int = 0) -> list[Tensor]:
    """Weights of some epochs of falling losses; task 1 is missing now and then."""
    generator = torch.Generator().manual_seed(seed)
    weights = []
    for _ in range(epochs):
        for step in range(4):
            losses = 0.1 + torch.rand(3, generator=generator, dtype=F64)
            losses[1] *= step != 2
            weights.append(rule(losses))
            if rule.needs_losses_after_step:
                rule.update(0.9 * losses)
        rule.end_epoch()
    return weights


@each_rule
def test_resumes_bit_for_bit(build: Callable[[], LossRule]) -> None:
    """A rule with a state goes on from it, and could not without; one without state needs none."""
    rule, fresh = build(), build()
    rule.allocate(3)
    fresh.allocate(3)
    train(rule, 3)
    resumed = saved_and_loaded(rule, build())
    resumed.allocate(3)
    expected = train(rule, 2, seed=1)
    for ours, theirs in zip(train(resumed, 2, seed=1), expected, strict=True):
        assert torch.equal(ours, theirs)
    forgotten = [not torch.equal(a, b) for a, b in zip(train(fresh, 2, seed=1), expected, strict=True)]
    assert any(forgotten) == (bool(rule.state_dict()) and getattr(rule, "form", "log") != "linear")


@each_rule
def test_a_loss_of_zero_takes_no_part(build: Callable[[], LossRule]) -> None:
    rule = build()
    rule.allocate(3)
    train(rule, 2)
    before = {name: buffer.clone() for name, buffer in rule.named_buffers()}
    weights = rule(torch.tensor([0.5, 0.0, 0.2], dtype=F64))
    assert torch.isfinite(weights).all()
    assert weights[1] == 0
    assert weights[[0, 2]].all()
    for name in ("log_variances", "log_scales", "totals", "counts"):
        if name in before:
            assert torch.equal(rule.get_buffer(name)[1], before[name][1])
    assert not rule(torch.zeros(3, dtype=F64)).any()


@each_rule
@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_any_scale_is_finite(build: Callable[[], LossRule], scale: float) -> None:
    for dtype in (torch.float32, F64):
        rule = build()
        rule.allocate(3)
        for _ in range(2):
            weights = rule(scale * torch.tensor([0.5, 0.1, 0.2], dtype=dtype))
            assert weights.dtype == dtype
            assert torch.isfinite(weights).all()
            rule.end_epoch()


@pytest.mark.parametrize("build", [DWA, FAMO, lambda: RLW(1), lambda: STCH(0.5, warmup_epochs=1)])
def test_scale_of_one_task_does_not_matter(build: Callable[[], LossRule]) -> None:
    """What a weighted loss pulls, w L, is the same for a loss in other units (FAMO and STCH), or w itself."""
    scales = torch.tensor([1.0, 1e6, 1e-6], dtype=F64)
    rules = build(), build()
    for epoch in range(3):
        losses = torch.tensor([0.5, 0.1, 0.2], dtype=F64) / (1 + epoch * torch.arange(3))
        plain, scaled = rules[0](losses), rules[1](losses * scales)
        if isinstance(rules[0], FAMO):
            plain, scaled = (pull / pull.sum() for pull in (plain * losses, scaled * losses * scales))
        elif isinstance(rules[0], STCH):
            plain, scaled = plain * losses, scaled * losses * scales
        torch.testing.assert_close(plain, scaled)
        for rule, factor in zip(rules, (torch.ones(3, dtype=F64), scales), strict=True):
            rule.update(losses * torch.tensor([0.9, 0.5, 0.99]) * factor)
            rule.end_epoch()


def test_gls_is_the_derivative_of_the_geometric_mean() -> None:
    losses = torch.tensor([0.5, 3.0, 0.2], dtype=F64, requires_grad=True)
    value = losses.prod() ** (1 / 3)
    torch.testing.assert_close(GLS()(losses.detach()), torch.autograd.grad(value, losses)[0])
    assert GLS()(torch.tensor([0.5, -1.0, 0.2], dtype=F64))[1] == 0


@pytest.mark.parametrize("form", ["log", "linear"])
def test_stch_is_the_derivative_of_its_value(form: Any) -> None:
    losses = torch.tensor([0.5, 3.0, 0.2], dtype=F64, requires_grad=True)
    reference = torch.tensor([0.1, 1.0, 0.3], dtype=F64)
    z = (losses / reference).log() if form == "log" else (losses - reference) / 3
    value = 0.3 * torch.logsumexp(z / 0.3, 0) * (3 if form == "log" else 1)
    ours = STCH(0.3, form, reference=reference.tolist())(losses.detach())
    torch.testing.assert_close(ours, torch.autograd.grad(value, losses)[0])


def test_stch_warms_up() -> None:
    rule, losses = STCH(1.0, warmup_epochs=2), torch.tensor([0.5, 0.25], dtype=F64)
    for factor in (1.0, 2.0):
        for _ in range(2):
            torch.testing.assert_close(rule(losses * factor), 1 / (losses * factor))
        rule.end_epoch()
    assert torch.equal(rule.nadir, 2 * losses)
    torch.testing.assert_close(rule(2 * losses), 1 / (2 * losses))
    rule.end_epoch()
    assert torch.equal(rule.nadir, 2 * losses)


@pytest.mark.parametrize(("rule", "target"), [(UW(0.05), 0.5), (IMTLL(0.05), 1.0)], ids=["UW", "IMTLL"])
def test_learned_weights_balance(rule: LossRule, target: float) -> None:
    losses = torch.tensor([0.1, 1.0, 8.0], dtype=F64)
    for _ in range(1000):
        weights = rule(losses)
    torch.testing.assert_close(weights * losses, torch.full_like(losses, target), rtol=1e-3, atol=0)


def test_adam_is_torchs() -> None:
    parameter = torch.zeros(3, dtype=F64, requires_grad=True)
    optimizer = torch.optim.Adam([parameter], lr=0.01)
    rule = UW(0.01)
    for step in range(5):
        losses = torch.tensor([0.1, 1.0 + step, 8.0], dtype=F64)
        rule(losses)
        optimizer.zero_grad()
        (0.5 * (losses * (-parameter).exp() + parameter)).sum().backward()
        optimizer.step()
        torch.testing.assert_close(rule.log_variances, parameter.detach())


def test_famo_favours_who_gains_least() -> None:
    rule, losses = FAMO(), torch.tensor([0.5, 0.25, 0.0], dtype=F64)
    first = rule(losses)
    torch.testing.assert_close(first.sum(), torch.tensor(1.0, dtype=F64))
    rule.update(losses * torch.tensor([0.5, 0.99, 1.0]))
    second = rule(losses)
    assert second[1] > first[1]
    assert rule.logits[2] == 0
    before = rule.logits.clone()
    rule.update(torch.full((3,), torch.nan, dtype=F64))
    assert torch.equal(rule.logits, before)


def test_dwa_takes_means_of_epochs() -> None:
    rule = DWA(2.0)
    for a, b in ((1.0, 2.0), (0.5, 2.0)):
        for factor in (0.5, 1.5):
            assert torch.equal(rule(torch.tensor([a, b], dtype=F64) * factor), torch.ones(2, dtype=F64))
        rule.end_epoch()
    expected = 2 * torch.softmax(torch.tensor([0.5, 1.0], dtype=F64) / 2, 0)
    torch.testing.assert_close(rule(torch.ones(2, dtype=F64)), expected)


def test_rlw_differs_between_steps_and_seeds() -> None:
    rule, other, losses = RLW(0), RLW(1), torch.ones(4)
    first, second = rule(losses), rule(losses)
    assert not torch.equal(first, second)
    assert not torch.equal(first, other(losses))
    torch.testing.assert_close(first.sum(), torch.tensor(1.0))


def test_arguments() -> None:
    for build in (
        lambda: UW(-1.0),
        lambda: IMTLL(initial=1e9),
        lambda: DWA(0.0),
        lambda: FAMO(lr=-1.0),
        lambda: STCH(0.0),
        lambda: STCH(form="log", weights=[1.0]),
        lambda: STCH(reference=[0.0]),
        lambda: STCH(form="cubic"),  # type: ignore[arg-type]
        lambda: FixedWeights([float("nan")]),
    ):
        with pytest.raises(ValueError, match="is not possible; allowed: "):
            build()
    with pytest.raises(ValueError, match="2 numbers in weights for 3 tasks"):
        FixedWeights([1.0, 2.0])(torch.ones(3))
