"""Passes of many tasks together find what single ones find."""

from typing import Any

import pytest
import torch
from fitting import LEVELS, fit
from foreign import (
    MODULES,
    Batch,
    Foreign,
    ScalarField,
    Silent,
    batch,
)
from spectral import Spectral
from torch import Tensor, nn

from mtlzoo.callbacks import GradientSurgery, rules
from mtlzoo.callbacks.surgery import passes
from mtlzoo.callbacks.surgery.graph import read
from mtlzoo.callbacks.surgery.task_gradients import TaskGradients

ONE_BY_ONE = 99


def joint(module_class: type[Foreign]) -> Any:
    """The same network, all losses of which come from one node."""

    class Joined(module_class):  # type: ignore[misc, valid-type]
        def losses(self, batch: Batch) -> Tensor:
            return ((torch.stack(self.outputs(batch), 1) - batch["y"]) ** 2).mean(0)

    return Joined


def collected(module: Any, losses: Tensor, monkeypatch: pytest.MonkeyPatch, many: int) -> TaskGradients:
    monkeypatch.setattr(passes, "MANY", many)
    gradients = TaskGradients()
    gradients.collect(read(losses), module.parameters(), retain_graph=True)
    return gradients


@pytest.mark.parametrize("module_class", [one for one in [*MODULES, Spectral] if one not in (ScalarField, Silent)])
def test_together_equals_one_by_one(module_class: type[Foreign], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module = joint(module_class)().double()
    losses = module.losses(batch())
    monkeypatch.setattr(passes, "_NOT_TOGETHER", set())
    found, wanted = (collected(module, losses, monkeypatch, many) for many in (2, ONE_BY_ONE))
    assert not passes._NOT_TOGETHER, "vmap takes all of these"
    assert set(found.of) == set(wanted.of)
    for parameter, entry in wanted:
        got = found.of[parameter]
        assert (got.tasks, got.sparse, got.certain) == (entry.tasks, entry.sparse, False)
        torch.testing.assert_close(got.dense, entry.dense, rtol=1e-12, atol=1e-14)
        for one, other in zip(got.rows, entry.rows, strict=True):
            assert torch.equal(one.index, other.index)
            torch.testing.assert_close(one.values, other.values, rtol=1e-12, atol=1e-14)


class Many(Foreign):
    """One layer gives the outputs of 20 tasks."""

    tasks = 20

    def build(self) -> None:
        self.table = nn.Embedding(20, 3)
        self.trunk = nn.Sequential(nn.Linear(8, 6), nn.Tanh())
        self.head = nn.Linear(6, self.tasks)

    def losses(self, batch: Batch) -> Tensor:
        output: Tensor = self.head(self.trunk(torch.cat([self.table(batch["ids"][:, 0]), batch["x"]], 1)))
        return ((output - batch["y"].repeat(1, 7)[:, : self.tasks]) ** 2).mean(0)


class ManyStacked(Many):
    """The same with a node per task."""

    def losses(self, batch: Batch) -> Tensor:
        output: Tensor = self.head(self.trunk(torch.cat([self.table(batch["ids"][:, 0]), batch["x"]], 1)))
        targets = batch["y"].repeat(1, 7)
        return torch.stack([((output[:, t] - targets[:, t]) ** 2).mean() for t in range(self.tasks)])


class Hooked(Many):
    """A hook asks for numbers, which has no meaning for many tasks at once."""

    def losses(self, batch: Batch) -> Tensor:
        def halved(gradient: Tensor) -> Tensor:
            return gradient / 2 if float(gradient.norm()) >= 0 else gradient

        self.trunk.register_forward_hook(lambda m, i, output: output.register_hook(halved) and None)
        return super().losses(batch)


@pytest.mark.parametrize("level", LEVELS)
def test_many_tasks_of_one_layer(level: Any) -> None:
    ends = []
    for module_class in (Many, ManyStacked):
        torch.manual_seed(0)
        module = module_class()
        fit(module, GradientSurgery(rules.MetaBalance(), level=level), steps=3)
        ends.append(module.state_dict())
    for name, weight in ends[1].items():
        torch.testing.assert_close(ends[0][name], weight, rtol=1e-9, atol=1e-12)


def test_chunks_of_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module = Many().double()
    losses = module.losses(batch())
    wanted = collected(module, losses, monkeypatch, ONE_BY_ONE)
    sizes: list[int] = []
    at_once = passes._at_once

    def counting(graph: Any, targets: Any, tasks: Any) -> Any:
        sizes.append(len(tasks))
        return at_once(graph, targets, tasks)

    monkeypatch.setattr(passes, "_at_once", counting)
    monkeypatch.setattr(passes, "TOGETHER", 9 * sum(map(passes._numbers, read(losses).masks)))
    found = collected(module, losses, monkeypatch, 2)
    assert sizes == [9, 9, 2]
    for parameter, entry in wanted:
        torch.testing.assert_close(found.of[parameter].dense, entry.dense, rtol=1e-12, atol=1e-14)


def test_what_cannot_run_together_runs_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "_NOT_TOGETHER", set())
    torch.manual_seed(0)
    module = Hooked().double()
    losses = module.losses(batch())
    wanted = collected(module, losses, monkeypatch, ONE_BY_ONE)
    assert not passes._NOT_TOGETHER
    for _ in range(2):
        found = collected(module, losses, monkeypatch, 2)
        assert len(passes._NOT_TOGETHER) == 1
        for parameter, entry in wanted:
            torch.testing.assert_close(found.of[parameter].dense, entry.dense)


def test_large_passes_run_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "_at_once", None)
    monkeypatch.setattr(passes, "_NOT_TOGETHER", set())
    monkeypatch.setattr(passes, "SMALL", 100)
    module = Many().double()
    assert passes.together(read(module.losses(batch())), [], range(20)) is None
    assert not passes._NOT_TOGETHER
