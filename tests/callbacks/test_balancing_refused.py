"""What `LossBalancing` does not serve is refused, with what to do instead."""

import itertools
from typing import Any

import lightning as L
import pytest
import torch
from balancing_cases import (
    fit,
    made,
)
from foreign import Batch, Foreign, Manual, batch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mtlzoo.callbacks import GradientSurgery, LossBalancing, rules

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (rules.PCGrad(), r"PCGrad weighs gradients; use GradientSurgery\(PCGrad"),
        (rules.GradDrop(), r"GradDrop weighs gradients; use GradientSurgery"),
        (rules.UW, r"give an object, as in LossBalancing\(UW\(\)\)"),
        (torch.ones(3), "extends LossRule"),
    ],
)
def test_other_rules_are_refused(rule: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LossBalancing(rule)


class Scalar(Foreign):
    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        return self.losses(batch).sum()


class One(Foreign):
    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        return {"loss": self.losses(batch)[:1]}


class Changing(Foreign):
    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        return {"loss": self.losses(batch)[: 3 - batch_idx]}


class Micro(Manual):
    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        optimizer: Any = self.optimizers()
        for _ in range(2):
            self.manual_backward(self.losses(batch))
        optimizer.step()


class WrongAfter(Foreign):
    def task_losses(self, batch: Batch) -> Any:
        return self.losses(batch)[:2]


@pytest.mark.parametrize(
    ("module", "balancing", "message"),
    [
        (Scalar, LossBalancing(rules.UW()), r"a vector \[T\].*torch.stack"),
        (One, LossBalancing(rules.UW()), "two tasks or more"),
        (Changing, LossBalancing(rules.UW()), "2 losses, 3 before"),
        (Foreign, LossBalancing(rules.UW(), tasks=["a", "b"]), "one name per loss"),
        (Foreign, LossBalancing(rules.FixedWeights([1.0, 2.0])), "FixedWeights"),
        (Foreign, LossBalancing(rules.FAMO()), r"Give Foreign a method task_losses\(batch\)"),
        (Micro, LossBalancing(rules.FAMO()), "several manual_backward calls.*accumulate=1"),
        (WrongAfter, LossBalancing(rules.FAMO()), "task_losses must return 3 losses"),
    ],
)
def test_what_cannot_be_served_is_refused(module: type[Foreign], balancing: LossBalancing, message: str) -> None:
    one = made(module) if module is Micro else module()
    with pytest.raises(ValueError, match=message):
        fit(one, [batch(seed=seed) for seed in range(2)], balancing)
    assert "backward" not in one.__dict__


def test_changing_losses_are_refused_with_a_name_per_task() -> None:
    with pytest.raises(ValueError, match="one name per loss"):
        fit(Changing(), [batch(), batch()], LossBalancing(rules.UW(), tasks=["a", "b", "c"]))


@pytest.mark.parametrize(
    "both", list(itertools.permutations([LossBalancing(rules.UW()), GradientSurgery(rules.PCGrad())]))
)
def test_a_second_callback_is_refused(both: tuple[L.Callback, ...]) -> None:
    module = Foreign()
    with pytest.raises(ValueError, match="Keep one callback"):
        fit(module, [batch()], *both)


class Reentrant(Foreign):
    """Keeps no activations of its trunk; surgery refuses this form of it, as single tasks' gradients need another."""

    def losses(self, batch: Batch) -> Tensor:
        h: Any = checkpoint(self.trunk, batch["x"].requires_grad_(), use_reentrant=True)
        return torch.stack(
            [(head(h).squeeze(1) - batch["y"][:, t]).square().mean() for t, head in enumerate(self.heads)]
        )


def test_reentrant_checkpointing_is_served() -> None:
    module = made(Reentrant)
    fit(module, [batch()], LossBalancing(rules.Equal()))
    assert set(module.seen[0]) == dict(module.named_parameters()).keys()


def test_fsdp_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ModelParallelStrategy.*one device and DDP"):
        fit(made(Foreign), [batch()], LossBalancing(rules.UW()), strategy=ModelParallelStrategy())
