"""Functions whose backward pass writes where the one before it wrote, as CUDA graphs that are replayed do."""

from typing import Any, ClassVar

import pytest
import torch
from fitting import assert_same, fit
from foreign import TASKS, Batch, Foreign, Manual
from torch import Tensor, nn

from mtlzoo.callbacks import GradientSurgery, rules


class Replayed(torch.autograd.Function):
    """A product whose gradients lie in one place for each weight: a pass overwrites those of the one before it."""

    pool: ClassVar[dict[int, tuple[Tensor, Tensor]]] = {}

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.weight = id(weight)
        return x @ weight.T

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        found = (gradients[0] @ weight, gradients[0].T @ x)
        places = Replayed.pool.setdefault(ctx.weight, (torch.empty_like(found[0]), torch.empty_like(found[1])))
        return places[0].copy_(found[0]).detach(), places[1].copy_(found[1]).detach()


class Graphed(Foreign):
    """A trunk, and behind it a block and heads that are replayed."""

    shared_modules = ("trunk",)
    replays = True

    def build(self) -> None:
        super().build()
        self.block = nn.Parameter(0.3 * torch.randn(7, 6))
        self.tops = nn.ParameterList(torch.randn(1, 7) for _ in range(TASKS))

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        made: Tensor = Replayed.apply(x, weight) if self.replays else x @ weight.T  # type: ignore[no-untyped-call]
        return made

    def outputs(self, batch: Batch) -> list[Tensor]:
        h = self.product(self.trunk(batch["x"]), self.block).tanh()
        return [self.product(h, top).squeeze(1) for top in self.tops]


class GraphedManual(Graphed, Manual):
    """In manual optimisation."""


@pytest.mark.parametrize(
    ("module_class", "options"),
    [
        (Graphed, {}),
        (Graphed, {"level": "parameter"}),
        (Graphed, {"accumulate": 2}),
        (Graphed, {"every_n_steps": 2}),
        (GraphedManual, {}),
        (Graphed, {"at": "representation"}),
    ],
)
def test_gradients_outlive_the_next_pass(module_class: type[Graphed], options: dict[str, Any]) -> None:
    made = []
    for replays in (False, True):
        torch.manual_seed(0)
        module = module_class()
        module.replays = replays
        how = dict(options)
        accumulate = how.pop("accumulate", 1)
        surgery = GradientSurgery(rules.PCGrad(order="fixed"), **how)
        fit(module, surgery, steps=4, accumulate_grad_batches=accumulate)
        made.append(module)
        Replayed.pool.clear()
    assert_same(made[0], made[1])
