"""What every rule on Gramians promises, whatever it computes: found by what `mtlzoo.callbacks.rules` exports."""

import copy
from typing import Any

import pytest
import torch
from every_rule import SIZES, Build, builders, built, calls, catalogue, remembers, same_gradient, solve, some
from saved import saved_and_loaded
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from mtlzoo.callbacks import rules
from mtlzoo.callbacks.rules import GradientRule, pcgrad
from mtlzoo.callbacks.rules.linalg import pivoting

pytestmark = pytest.mark.every_case


each_rule = pytest.mark.parametrize("build", builders())
each_rule_by_group = pytest.mark.parametrize("build", some(lambda rule: rule.by_group))
each_rule_with_state = pytest.mark.parametrize("build", some(remembers))
each_size = pytest.mark.parametrize("tasks", SIZES)


@each_rule
@each_size
def test_finite(build: Build, tasks: int) -> None:
    names, rows = catalogue(tasks)
    for dtype in (torch.float64, torch.float32):
        rule = built(build, len(rows), tasks)
        gramians = (rows @ rows.mT).to(dtype)
        for _ in calls(rule):
            weights = solve(rule, gramians)
            assert weights.dtype == dtype
            assert weights.shape == (len(rows), tasks)
            for name, gramian, found in zip(names, gramians, weights, strict=True):
                assert bool(found.isfinite().all()), f"{name} {dtype}: {found}"
                if rule.masks_inactive:
                    assert not found[gramian.diagonal() == 0].any(), f"{name} {dtype}: {found}"


@each_rule
@each_size
def test_no_order_of_the_tasks(build: Build, tasks: int) -> None:
    if getattr(build(tasks), "order", "mean") != "mean":
        pytest.skip("goes through the tasks in an order; test_golden_rules.py knows the orders")
    names, rows = catalogue(tasks)
    order = torch.randperm(tasks)
    rule, other = built(build, len(rows), tasks), built(build, len(rows), tasks)
    if hasattr(rule, "main_task"):
        setattr(other, "main_task", order.tolist().index(rule.main_task))  # noqa: B010  # not in the base
    for name in ("weights", "preference"):
        if isinstance(numbers := getattr(other, name, None), list):
            setattr(other, name, [numbers[t] for t in order])
    # Not to -2: of 16 tasks that makes one 5e-17 long on some processors, beyond the 1e12 that rules are exact for.
    for factor in (1.0, -1.9):
        moved = torch.linspace(1.0, factor, tasks, dtype=torch.float64)[:, None] * rows
        expected = solve(rule, moved @ moved.mT)
        weights = solve(other, (moved @ moved.mT)[:, order][..., order], order=order)
        same_gradient(weights, expected[:, order], moved[:, order], names)


@each_rule
@each_size
def test_degree(build: Build, tasks: int) -> None:
    names, rows = catalogue(tasks)
    rule, other, similar = (built(build, len(rows), tasks) for _ in range(3))
    if rule.degree is None:
        pytest.skip("sees the Gramian as it is")
    for _ in calls(rule):
        expected = solve(rule, rows @ rows.mT)
        assert torch.equal(solve(other, 2.0**34 * (rows @ rows.mT)), 2.0 ** (34 * rule.degree) * expected)
        same_gradient(solve(similar, 3.7 * (rows @ rows.mT)), 3.7**rule.degree * expected, rows, names)


@each_rule
def test_many_tasks_as_few(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ways that are only taken for many tasks, against those for few."""
    names, rows = catalogue(tasks := 24)
    found = []
    for few in (1, 1000):
        monkeypatch.setattr(pivoting, "FEW_TASKS", few)
        monkeypatch.setattr(pcgrad, "FEW_TASKS", few)
        found.append(solve(built(build, len(rows), tasks), rows @ rows.mT))
    same_gradient(found[0], found[1], rows, names)


@each_rule
@pytest.mark.parametrize("tasks", [2, 6])
def test_a_batch_is_each_alone(build: Build, tasks: int) -> None:
    names, rows = catalogue(tasks)
    gramians = rows @ rows.mT
    rule, backwards = built(build, len(rows), tasks), built(build, len(rows), tasks)
    alone = [built(build, 1, tasks) for _ in rows]
    places = torch.arange(len(rows)).flip(0)
    for factor in (1.0, 0.5)[: len(calls(rule))]:
        expected = torch.stack([solve(r, factor * g) for r, g in zip(alone, gramians, strict=True)])
        same_gradient(solve(rule, factor * gramians), expected, rows, names)
        same_gradient(solve(backwards, factor * gramians.flip(0), places).flip(0), expected, rows, names)
    shape = (1, len(rows), 1, tasks, tasks)
    assert solve(built(build, len(rows), tasks), gramians.reshape(shape)).shape == shape[:-1]


@each_rule_by_group
def test_absent_groups_and_silent_tasks_keep_their_state(build: Build) -> None:
    tasks = 4
    rule = built(build, 3, tasks)
    rows = torch.randn(3, tasks, 9, dtype=torch.float64)
    solve(rule, rows @ rows.mT)
    before = {name: rule.get_buffer(name).clone() for name in rule.by_group}
    rows = rows[1:2].roll(1, -2)
    rows[:, 2] = 0.0
    solve(rule, rows @ rows.mT, torch.tensor([1]))
    for name, old in before.items():
        new = rule.get_buffer(name)
        assert torch.equal(new[[0, 2]], old[[0, 2]]), name
        assert not torch.equal(new[1], old[1]), name
        if isinstance(rule, rules.SDMGrad):
            continue  # shares of a whole: they cannot rest while the others move
        assert torch.equal(new[1, 2], old[1, 2]), name
        if new.shape[2:] == (tasks,):
            assert torch.equal(new[1, :, 2], old[1, :, 2]), name


@each_rule
def test_says_which_of_its_state_is_by_group(build: Build) -> None:
    few, many = built(build, 3, 5), built(build, 7, 5)
    by_group = {name for name, buffer in few.named_buffers() if buffer.shape != many.get_buffer(name).shape}
    assert by_group == set(few.by_group)
    for name in by_group:
        assert few.get_buffer(name).shape[:2] == (3, 5)


@each_rule_with_state
def test_grows_by_groups(build: Build) -> None:
    """Groups that are there from the second step on end as if there had been room for them from the start."""
    tasks = 4
    rule, roomy = built(build, 3, tasks), built(build, 5, tasks)
    for step in range(4):
        if step == 2:
            rule.grow(5, tasks)
        there = 3 if step < 2 else 5
        rows = torch.randn(there, tasks, 9, dtype=torch.float64)
        expected = solve(roomy, rows @ rows.mT, torch.arange(there))
        assert torch.equal(solve(rule, rows @ rows.mT, torch.arange(there)), expected)
    for name, buffer in roomy.named_buffers():
        assert torch.equal(rule.get_buffer(name), buffer), name
    if rule.by_group:
        before = {name: buffer.clone() for name, buffer in rule.named_buffers()}
        for groups, others in ((4, tasks), (6, tasks - 1)):
            with pytest.raises(ValueError, match=f"{groups} groups of {others} tasks. Groups can only be added"):
                rule.grow(groups, others)
        assert all(torch.equal(buffer, before[name]) for name, buffer in rule.named_buffers())
    new = build(tasks)
    new.grow(3, tasks)
    assert [buffer.shape for buffer in new.buffers()] == [buffer.shape for buffer in built(build, 3, tasks).buffers()]


@each_rule
def test_resumes(build: Build) -> None:
    """A rule with a state goes on from it, and could not without; one without state needs none."""
    tasks = 5
    rule, fresh = built(build, 4, tasks), built(build, 4, tasks)

    def step() -> Tensor:
        rows = torch.randn(4, tasks, 9, dtype=torch.float64)
        return rows @ rows.mT

    if isinstance(rule, rules.PMTRecRule):
        rule.set_epoch(9)
    for _ in range(3):
        solve(rule, step())
    loaded = saved_and_loaded(rule, build(tasks))
    loaded.allocate(4, tasks)
    forgotten = False
    for gramian in (step(), step()):
        twin = copy.deepcopy(rule)
        expected = solve(rule, gramian)
        assert torch.equal(solve(twin, gramian), expected)
        assert torch.equal(solve(loaded, gramian), expected)
        forgotten |= not torch.equal(solve(fresh, gramian), expected)
    assert forgotten == remembers(rule)


@each_rule
def test_a_bad_step_does_not_last(build: Build) -> None:
    tasks = 4
    rule = built(build, 1, tasks)
    rows = torch.randn(tasks, 9, dtype=torch.float64)
    solve(rule, rows @ rows.T)
    for bad in (torch.nan, torch.inf):
        broken = rows.clone()
        broken[2, 0] = bad
        weights = solve(rule, broken @ broken.T)
        # These don't see it, or leave alone what is not finite; what they weigh is not finite all the same.
        if not isinstance(rule, rules.Sum | rules.Mean | rules.Fixed | rules.MetaBalance | rules.GradVac):
            assert not bool(weights.isfinite().all())
    assert bool(solve(rule, rows @ rows.T).isfinite().all())


@each_rule
def test_never_waits_for_a_value(build: Build) -> None:
    """Tensors without numbers: asking for one raises."""
    tasks = 4
    with FakeTensorMode():
        rule = built(build, 10, tasks)
        for _ in calls(rule):
            assert solve(rule, torch.zeros(7, tasks, tasks), torch.arange(7)).shape == (7, tasks)


class Additions(TorchDispatchMode):
    """Refuses operations whose sums depend on the order in which a GPU happens to add."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__.rstrip("_")
        assert name not in ("scatter_add", "scatter_reduce", "index_reduce", "put"), name
        if name == "index_add" and args[2].device.type == "cpu":
            assert len(args[2].unique()) == len(args[2]), "several additions to one place"
        assert name != "index_put" or not (args[3:] and args[3]), "several additions to one place"
        assert name != "cumsum" or args[0].device.type == "cpu" or not args[0].dtype.is_floating_point
        return func(*args, **(kwargs or {}))


@each_rule
def test_stays_on_its_device(build: Build) -> None:
    tasks = 4
    rule = built(build, 10, tasks).to("meta")
    losses = {"losses": torch.ones(tasks, device="meta")} if rule.needs_losses else {}
    places = torch.arange(7, device="meta")
    with Additions():  # type: ignore[no-untyped-call]
        assert rule(torch.zeros(7, tasks, tasks, device="meta"), groups=places, **losses).device.type == "meta"


@each_rule
@pytest.mark.parametrize("tasks", [4, 20])
def test_sums_in_one_order(build: Build, tasks: int) -> None:
    rule, rows = built(build, 10, tasks), torch.randn(10, tasks, 9, dtype=torch.float64)
    with Additions():  # type: ignore[no-untyped-call]
        solve(rule, rows @ rows.mT)


@pytest.mark.parametrize("rule", [rules.MoCo(), rules.GradDrop()], ids=repr)
def test_sums_of_gradients_in_one_order(rule: GradientRule) -> None:
    with Additions():  # type: ignore[no-untyped-call]
        rule(torch.randn(4, 9), losses=torch.ones(4) if rule.needs_losses else None)
