"""What single rules promise beside their golden numbers: formulas without a reference, states, errors."""

import math
import time
from typing import Any

import pytest
import torch
from jacobians import gramian_of

from mtlzoo.callbacks import rules
from mtlzoo.callbacks.rules import GramianRule


def allocated(rule: GramianRule, groups: int, tasks: int) -> Any:
    rule.allocate(groups, tasks)
    return rule


# MetaBalance.


def test_metabalance_is_the_papers_average_where_all_tasks_have_gradients() -> None:
    rule = allocated(rules.MetaBalance(main_task=1, relax=0.7, beta=0.9), 1, 3)
    average = torch.zeros(3, dtype=torch.float64)
    for _ in range(5):
        rows = torch.randn(3, 7, dtype=torch.float64)
        average = 0.9 * average + 0.1 * rows.norm(dim=1)
        expected = 0.7 * average[1] / average + 0.3
        torch.testing.assert_close(rule(rows @ rows.T), expected)


def test_metabalance_compares_seldom_tasks_by_their_own_norm() -> None:
    rule = allocated(rules.MetaBalance(relax=1.0), 1, 2)
    for _ in range(30):
        rule(gramian_of([2.0, 0.0], [0.0, 0.0]))
    assert rule(gramian_of([2.0, 0.0], [0.0, 4.0])).tolist() == pytest.approx([1.0, 0.5])


def test_metabalance_strategies_and_an_unseen_main_task() -> None:
    gramian = gramian_of([2.0, 0.0], [0.0, 4.0], [1.0, 0.0])
    found = {
        strategy: allocated(rules.MetaBalance(relax=1.0, strategy=strategy), 1, 3)(gramian).tolist()
        for strategy in ("both", "reduce", "enlarge")
    }
    assert found["both"] == pytest.approx([1.0, 0.5, 2.0])
    assert found["reduce"] == pytest.approx([1.0, 0.5, 1.0])
    assert found["enlarge"] == pytest.approx([1.0, 1.0, 2.0])
    unseen = allocated(rules.MetaBalance(relax=0.7), 1, 2)(gramian_of([0.0], [1.0]))
    assert unseen.tolist() == pytest.approx([0.0, 0.3])


# GradCraft, DB-MTL, GradNorm.


@pytest.mark.parametrize("tau", [0.0, 0.3, 1.0])
def test_gradcraft_ends_the_conflicts_it_names(tau: float) -> None:
    eps = 1e-3
    rows = torch.randn(4, 9, dtype=torch.float64) - 1.0 * torch.eye(4, 9, dtype=torch.float64).sum(0)
    norms = rows.norm(dim=1, keepdim=True)
    scaled = (tau * norms.max() / norms + 1 - tau) * rows
    units = scaled / scaled.norm(dim=1, keepdim=True)
    total, conflicts = torch.zeros(9, dtype=torch.float64), 0
    for own, unit in zip(scaled, units, strict=True):
        others = units[units @ unit < 0]
        moved = own + torch.linalg.pinv(others) @ (eps * own.norm() - others @ own) if len(others) else own
        torch.testing.assert_close(others @ moved, (eps * own.norm()).expand(len(others)))
        total, conflicts = total + moved, conflicts + len(others)
    assert conflicts
    weights = rules.GradCraft(tau, eps)(rows @ rows.T)
    torch.testing.assert_close(weights @ rows, total / 4)


def test_gradcraft_with_two_tasks_is_half_of_pcgrad() -> None:
    gramian = gramian_of([1.0, 0.0], [-0.5, 1.0])
    torch.testing.assert_close(2 * rules.GradCraft(0.0, 0.0)(gramian), rules.PCGrad("fixed")(gramian))


def test_db_mtl_leaves_out_who_was_not_observed_and_refuses_negative_losses() -> None:
    gramian = gramian_of([3.0, 0.0], [0.0, 4.0])
    weights = rules.DBMTL()(gramian, losses=torch.tensor([0.5, 0.0]))
    assert weights.tolist() == pytest.approx([2.0, 0.0])
    assert bool(rules.DBMTL()(gramian, losses=torch.tensor([0.5, -1.0])).isnan().all())


def test_gradnorm_evens_out_norms() -> None:
    rule = allocated(rules.GradNorm(alpha=0.0), 2, 2)
    gramian = torch.stack([gramian_of([1.0, 0.0], [0.0, 3.0]), gramian_of([1.0, 0.0], [0.0, 1.0])])
    losses = torch.tensor([0.5, 0.7])
    for _ in range(200):
        weights = rule(gramian, losses=losses)
    torch.testing.assert_close(weights[0], torch.tensor([1.5, 0.5], dtype=torch.float64), rtol=0.05, atol=0.0)
    torch.testing.assert_close(weights[1], torch.ones(2, dtype=torch.float64), rtol=0.05, atol=0.0)


def test_gradnorm_favours_slow_tasks_and_remembers_each_first_loss() -> None:
    rule = allocated(rules.GradNorm(), 1, 3)
    gramian = gramian_of([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0])
    rule(gramian, losses=torch.tensor([1.0, 2.0, 0.0]))
    rule(gramian, losses=torch.tensor([0.5, 2.0, 4.0]))
    assert rule.first_losses.tolist() == [1.0, 2.0, 4.0]
    logits = rule.logits[0]
    assert logits[0] < logits[1]
    assert bool(rule(gramian, losses=torch.tensor([0.5, -2.0, 4.0])).isnan().all())
    assert bool(rule.logits.isfinite().all())


# Orders, degenerate gradients, scales.


def test_random_orders_are_drawn_anew_for_every_call_and_alike_for_every_seed() -> None:
    rows = torch.randn(6, 5, dtype=torch.float64)
    one, two, three = rules.PCGrad(seed=3), rules.PCGrad(seed=3), rules.PCGrad(seed=4)
    gramian = rows @ rows.T
    torch.manual_seed(1)
    first = [one(gramian) for _ in range(4)]
    torch.manual_seed(2)
    assert all(torch.equal(a, two(gramian)) for a in first)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], three(gramian))


@pytest.mark.slow
def test_pcgrad_random_orders_are_uniform() -> None:
    rows = torch.randn(4, 3, dtype=torch.float64) - 0.5
    rule = rules.PCGrad()
    mean = torch.stack([rule(rows @ rows.T) for _ in range(3000)]).mean(0)
    torch.testing.assert_close(mean, rules.PCGrad("mean")(rows @ rows.T), rtol=0.03, atol=0.03)


@pytest.mark.parametrize("rule", [rules.PCGrad(), rules.IMTLG(), rules.ConFIG(), rules.GradVac(), rules.GradCraft()])
def test_opposite_gradients_cancel(rule: GramianRule) -> None:
    rule.allocate(1, 2)
    weights = rule(gramian_of([1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]))
    assert abs(float(weights[0] - weights[1])) < 1e-7


@pytest.mark.parametrize("rule", [rules.IMTLG(), rules.ConFIG()])
def test_directions_without_regard_to_single_scales(rule: GramianRule) -> None:
    rows = torch.randn(4, 9, dtype=torch.float64)
    scales = torch.tensor([1e-9, 1e-2, 1e4, 1e9], dtype=torch.float64)
    scaled = scales[:, None] * rows
    direction, expected = rule(scaled @ scaled.T) @ scaled, rule(rows @ rows.T) @ rows
    cosine = torch.cosine_similarity(direction / direction.norm(), expected / expected.norm(), dim=0)
    assert abs(float(cosine)) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("factor", [1e-12, 1.0, 3.0, 1e12])
def test_imtlg_takes_parallel_gradients_as_the_limit_of_almost_parallel_ones(factor: float) -> None:
    weights = rules.IMTLG()(gramian_of([1.0, 1.0], [factor, factor]))
    expected = torch.tensor([factor, 1.0], dtype=torch.float64) / (1 + factor)
    torch.testing.assert_close(weights, expected)


def test_aligned_mtl_makes_gradients_orthogonal_and_equally_long() -> None:
    rows = torch.randn(3, 8, dtype=torch.float64)
    preferred = [rules.AlignedMTL(preference=p)(rows @ rows.T) @ rows for p in ([1, 0, 0], [0, 1, 0], [0, 0, 1])]
    aligned = torch.stack(preferred)
    smallest = torch.linalg.svdvals(rows)[-1].square()
    torch.testing.assert_close(aligned @ aligned.T, smallest * torch.eye(3, dtype=torch.float64))


# Arguments and states.

BAD: list[tuple[type[GramianRule], dict[str, Any], str]] = [
    (rules.PCGrad, {"order": "sorted"}, "order='sorted'.*random, fixed, mean"),
    (rules.GradVac, {"order": "mean"}, "order='mean'.*random, fixed"),
    (rules.GradVac, {"beta": 1.5}, r"beta=1.5.*0 to 1"),
    (rules.AlignedMTL, {"scale": "max"}, "scale='max'.*min, median, rmse"),
    (rules.AlignedMTL, {"preference": [0.0, 0.0]}, "preference.*not only zeros"),
    (rules.ConFIG, {"preference": [1.0, -1.0]}, "preference"),
    (rules.Fixed, {"weights": []}, r"weights=\[\].*one finite number per task"),
    (rules.Fixed, {"weights": [1.0, math.nan]}, "finite"),
    (rules.GradCraft, {"tau": 2.0}, "tau=2.0"),
    (rules.GradCraft, {"eps": -1.0}, "eps=-1.0"),
    (rules.MetaBalance, {"beta": 1.0}, "beta=1.0.*below 1"),
    (rules.MetaBalance, {"relax": -0.1}, "relax=-0.1"),
    (rules.MetaBalance, {"strategy": "grow"}, "strategy='grow'.*both, reduce, enlarge"),
    (rules.MetaBalance, {"main_task": -1}, "main_task=-1"),
    (rules.PMTRecRule, {"alpha": 0.9}, "alpha=0.9.*>= 1"),
    (rules.PMTRecRule, {"tau": 0.0}, "tau=0.0.*> 0"),
    (rules.GradNorm, {"lr": -1.0}, "lr=-1.0"),
    (rules.GradNorm, {"alpha": math.nan}, "alpha=nan"),
]


@pytest.mark.parametrize(("rule", "arguments", "message"), BAD)
def test_arguments_are_checked(rule: type[GramianRule], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"{rule.__name__}.*{message}"):
        rule(**arguments)


@pytest.mark.parametrize("rule", [rules.MetaBalance("click"), rules.PMTRecRule("click")])
def test_the_main_task_must_be_a_number_in_the_call(rule: GramianRule) -> None:
    rule.allocate(1, 2)
    with pytest.raises(ValueError, match=r"main_task.*'click'.*number"):
        rule(torch.eye(2))


def test_the_main_task_must_exist() -> None:
    with pytest.raises(ValueError, match=r"main_task 5 .*0 to 1"):
        rules.PMTRecRule(5)(torch.eye(2))


def test_numbers_per_task_must_be_one_per_task() -> None:
    for rule in (rules.Fixed([1.0]), rules.AlignedMTL(preference=[1.0]), rules.ConFIG(preference=[1.0])):
        with pytest.raises(ValueError, match=f"{type(rule).__name__}: 1 numbers in .* for 2 tasks"):
            rule(torch.eye(2))


def test_a_state_that_was_not_allocated_is_an_error() -> None:
    for rule in (rules.GradVac(), rules.MetaBalance(), rules.GradNorm()):
        losses = {"losses": torch.ones(2)} if rule.needs_losses else {}
        with pytest.raises(ValueError, match=r"call allocate\(groups, tasks\)"):
            rule(torch.eye(2), **losses)
        rule.allocate(3, 2)
        with pytest.raises(ValueError, match=r"1 groups of 2 tasks: call allocate"):
            rule(torch.eye(2), **losses)


def test_allocating_again_keeps_the_state() -> None:
    rule = allocated(rules.MetaBalance(), 1, 2)
    rule(torch.eye(2))
    before = rule.averages.clone()
    rule.allocate(1, 2)
    assert torch.equal(rule.averages, before)
    rule.allocate(2, 2)
    assert not rule.averages.any()


@pytest.mark.parametrize(
    "rule",
    [rules.PCGrad(), rules.GradVac(), rules.IMTLG(), rules.AlignedMTL(), rules.ConFIG(), rules.GradCraft()],
    ids=lambda rule: type(rule).__name__,
)
def test_many_groups_at_once(rule: GramianRule) -> None:
    rows = torch.randn(32768, 4, 16)
    gramian = rows @ rows.mT
    rule.allocate(len(gramian), 4)
    start = time.perf_counter()
    assert bool(rule(gramian).isfinite().all())
    assert time.perf_counter() - start < 10.0
