"""`PMTRecRule` is the paper's softmax, and stays finite."""

import math

import pytest
import torch
from jacobians import gramian_of

from mtlzoo.callbacks import rules


def test_pmtrec_is_the_papers_softmax() -> None:
    rule = rules.PMTRecRule(main_task=1, alpha=1.1, tau=0.5)
    rule.set_epoch(2)
    weights = rule(gramian_of([3.0, 4.0], [1.0, 0.0], [0.0, 2.0]))
    expected = torch.softmax(torch.tensor([5.0, 1.1**3, 2.0], dtype=torch.float64) / 0.5, 0)
    torch.testing.assert_close(weights, expected)


def test_pmtrec_limits() -> None:
    gramian = gramian_of([3.0, 4.0], [1.0, 0.0], [0.0, 2.0])
    uniform = rules.PMTRecRule(tau=math.inf)(gramian)
    torch.testing.assert_close(uniform, torch.full((3,), 1 / 3, dtype=torch.float64))
    largest = rules.PMTRecRule(alpha=1.0, tau=1e-6)(gramian)
    assert largest.tolist() == [1.0, 0.0, 0.0]
    assert rules.PMTRecRule()(gramian_of([2.0])).tolist() == [1.0]


@pytest.mark.parametrize("alpha", [1.0, 1.2, 2.0, 1e6])
def test_pmtrec_never_overflows(alpha: float) -> None:
    rule = rules.PMTRecRule(alpha=alpha, tau=1e-6)
    gramian = gramian_of([1e-9, 0.0], [0.0, 1e12], [0.0, 0.0])
    for epoch in (0, 1000, 10**6):
        rule.set_epoch(epoch)
        weights = rule(gramian)
        assert bool(weights.isfinite().all())
        torch.testing.assert_close(weights.sum(), torch.tensor(1.0, dtype=torch.float64))
    assert weights.tolist() == ([0.0, 1.0, 0.0] if alpha == 1 else [1.0, 0.0, 0.0])
    rule.set_epoch(1000)
    silent_main = rule(gramian_of([0.0, 0.0], [0.0, 1.0]))
    assert bool(silent_main.isfinite().all())
    uniform = rules.PMTRecRule(main_task=1, alpha=alpha, tau=math.inf)
    uniform.set_epoch(10**6)
    torch.testing.assert_close(uniform(gramian), torch.full((3,), 1 / 3, dtype=torch.float64))


def test_pmtrec_without_task_focusing_knows_no_epochs() -> None:
    gramian = gramian_of([3.0, 4.0], [1.0, 0.0], [0.0, 2.0])
    rule, growing = rules.PMTRecRule(alpha=1.0, tau=3.0), rules.PMTRecRule(main_task=1, alpha=1.1, tau=3.0)
    first, shares = rule(gramian), []
    for epoch in (0, 1, 10, 1000):
        rule.set_epoch(epoch)
        growing.set_epoch(epoch)
        assert torch.equal(rule(gramian), first)
        shares.append(growing(gramian)[1].item())
    assert shares == sorted(set(shares))
    assert shares[-1] == 1.0


def test_pmtrec_keeps_silent_tasks_unless_told() -> None:
    gramian = gramian_of([3.0, 4.0], [0.0, 0.0])
    paper = rules.PMTRecRule(tau=math.inf)
    assert paper(gramian).tolist() == [0.5, 0.5]
    assert not paper.masks_inactive
    masked = rules.PMTRecRule(tau=math.inf, mask_untouched=True)
    assert masked(gramian).tolist() == [1.0, 0.0]
    assert bool(masked(torch.zeros(2, 2)).isfinite().all())
