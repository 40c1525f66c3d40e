"""What gradients are made of where several backward passes add to them."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from fitting import fit
from foreign import Batch, Foreign, Manual
from torch import Tensor, nn

from mtlzoo.callbacks import GradientSurgery, rules
from mtlzoo.callbacks.surgery.written import Written


def ones(value: float) -> Tensor:
    return torch.full((2,), float(value))


def test_a_step_gives_anew_and_others_stay() -> None:
    written, p = Written(), nn.Parameter(torch.zeros(2))
    p.grad = ones(100)
    written.give("a", p, ones(1))
    written.give("b", p, ones(10))
    written.add(p, ones(1000))
    written.give("a", p, ones(2))
    assert p.grad.tolist() == [1112, 1112]
    assert not written.used("a")
    assert not written.used("b")


def test_gradients_that_somebody_changed_are_used_up() -> None:
    changes: dict[str, Callable[[nn.Parameter], Any]] = {
        "cleared": lambda p: setattr(p, "grad", None),
        "zeroed": lambda p: p.grad.zero_() if p.grad is not None else None,
        "replaced": lambda p: setattr(p, "grad", None if p.grad is None else p.grad.clone()),
    }
    for change in changes.values():
        written, p, q = Written(), nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
        written.give("a", p, ones(1))
        written.give("a", q, ones(1))
        change(p)
        assert written.used("a")
        start = 0.0 if p.grad is None else p.grad[0].item()
        written.give("b", p, ones(5))
        assert p.grad is not None
        assert p.grad[0].item() == start + 5
        assert written.used("a"), "also after another step gave to the same"


def test_an_optimisers_step_ends_the_steps_that_gave_to_it() -> None:
    written, p, q = Written(), nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    written.give("a", p, ones(1))
    written.give("b", q, ones(1))
    assert written.forget([p]) == ["a"]
    assert not written.used("b")


def test_no_gradient_is_kept_where_an_optimiser_steps_behind_lightnings_back() -> None:
    seen: list[weakref.ref[Tensor]] = []

    class Behind(Manual):
        def training_step(self, batch: Batch, batch_idx: int) -> Any:
            optimizer: Any = self.optimizers()
            optimizer.optimizer.zero_grad()
            self.manual_backward(self.losses(batch))
            gradient = self.get_parameter("trunk.0.weight").grad
            assert gradient is not None
            seen.append(weakref.ref(gradient))
            optimizer.optimizer.step()

        def on_train_end(self) -> None:
            gc.collect()
            assert sum(gradient() is not None for gradient in seen) <= 1

    fit(Behind(), GradientSurgery(rules.PCGrad()), steps=6)


class Offsets(Foreign):
    """Of one task alone: parameters that are added to each other, and one of which the loss has the sum."""

    def build(self) -> None:
        super().build()
        self.one, self.other, self.summed = (nn.Parameter(torch.zeros(6)) for _ in range(3))

    def losses(self, batch: Batch) -> Tensor:
        h = self.trunk(batch["x"])
        first, second, third = (head(h).square().mean() for head in self.heads)
        offset = (h + (self.one + self.other)).square().mean()
        return torch.stack([first + offset, second + self.summed.sum(), third])


@pytest.mark.parametrize("options", [{}, {"at": "representation", "modules": ["trunk"]}])
def test_gradients_share_no_memory(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    module = Offsets()
    fit(module, GradientSurgery(rules.Sum(), **options), gradient_clip_val=1e-3)
    (before,) = module.seen
    norm = torch.stack([gradient.norm() for gradient in before.values()]).norm()
    for name, gradient in before.items():
        torch.testing.assert_close(module.get_parameter(name).grad, gradient * (1e-3 / norm), rtol=1e-5, atol=0)
