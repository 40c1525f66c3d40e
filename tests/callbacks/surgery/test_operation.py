"""What reaches ``.grad``: of losses alone, over micro-batches, past hooks and copies, and what is not finite."""

import copy
import warnings
from functools import partial
from typing import Any

import pytest
import torch
from fitting import LEVELS, assert_same, fit, trained
from foreign import Batch, Foreign, Manual
from lightning.pytorch.callbacks import StochasticWeightAveraging
from lightning.pytorch.callbacks.weight_averaging import EMAWeightAveraging
from torch import Tensor
from two_networks import Critic

from mtlzoo.callbacks import GradientSurgery, LossBalancing, rules


class Plain(Critic):
    def losses(self, batch: Batch) -> Tensor:
        return super().losses(batch).sum()


@pytest.mark.parametrize("callback", [lambda: GradientSurgery(rules.Sum()), lambda: LossBalancing(rules.Equal())])
def test_one_loss_alone_is_its_ordinary_gradient(callback: Any) -> None:
    assert_same(trained(Plain), trained(Critic, callback()), 1e-9)


class CriticMicro(Critic):
    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        optimizers: Any = self.optimizers()
        for optimizer in optimizers:
            optimizer.zero_grad()
        for half in range(2):
            part = {k: v.chunk(2)[half] for k, v in batch.items()}
            self.manual_backward(self.losses(part) / 2)
            self.manual_backward(self.other_losses(part).sum() / 2)
            self.manual_backward(0.05 * self.get_parameter("trunk.0.weight").square().sum())
        for optimizer in optimizers:
            optimizer.step()


def test_micro_batches_with_losses_alone_between_them() -> None:
    whole = trained(Critic, GradientSurgery(rules.PCGrad(order="fixed")))
    assert_same(whole, trained(CriticMicro, GradientSurgery(rules.PCGrad(order="fixed"))), 1e-9)


def test_one_loss_at_a_time_is_told() -> None:
    class Scalars(Manual):
        def losses(self, batch: Batch) -> Tensor:
            return super().losses(batch).sum()

    for callback in (GradientSurgery(rules.PCGrad()), LossBalancing(rules.UW())):
        with pytest.warns(UserWarning, match="no losses of several tasks came"):
            trained(Scalars, callback)


class SkipsLast(Foreign):
    """No losses in the micro-batch at which the step is taken."""

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        return None if batch_idx % 2 else self.losses(batch)


class SkipsLastPlain(SkipsLast):
    def losses(self, batch: Batch) -> Tensor:
        return super().losses(batch).sum()


@pytest.mark.filterwarnings("ignore:.*training_step. returned .None.")  # of Lightning
def test_what_was_accumulated_is_not_lost_where_the_last_micro_batch_has_no_losses() -> None:
    options = {"accumulate_grad_batches": 2}
    plain, module = trained(SkipsLastPlain, **options), trained(SkipsLast, GradientSurgery(rules.Sum()), **options)
    assert_same(plain, module)
    torch.manual_seed(0)
    start = SkipsLast()
    assert not torch.equal(start.state_dict()["trunk.0.weight"].double(), module.state_dict()["trunk.0.weight"])


class Hooked(Foreign):
    """Hooks that torch calls when a gradient is there: masks, offloading, an optimiser in the backward pass."""

    def on_fit_start(self) -> None:
        self.calls: list[str] = []
        for name, parameter in self.named_parameters():
            parameter.register_post_accumulate_grad_hook(partial(self.arrived, name))

    def arrived(self, name: str, parameter: Tensor) -> None:
        self.calls.append(name)
        assert parameter.grad is not None
        parameter.grad = parameter.grad * 0.5


class HookedPlain(Hooked):
    def losses(self, batch: Batch) -> Tensor:
        return super().losses(batch).sum()


@pytest.mark.parametrize("options", [{}, {"every_n_steps": 3}, {"at": "representation", "modules": ["trunk"]}])
def test_hooks_on_gradients_are_called_once_they_are_there(options: dict[str, Any]) -> None:
    plain, module = trained(HookedPlain), trained(Hooked, GradientSurgery(rules.Sum(), **options))
    assert_same(plain, module)
    assert sorted(plain.calls) == sorted(module.calls)


@pytest.mark.filterwarnings("ignore::Warning")  # of Lightning's averages of weights
@pytest.mark.parametrize("average", [lambda: StochasticWeightAveraging(swa_lrs=1e-3), lambda: EMAWeightAveraging()])
def test_modules_are_copied_in_training(average: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = trained(Foreign, GradientSurgery(rules.PCGrad()), average(), max_epochs=3)
    again = copy.deepcopy(module)
    assert not {"backward", "training_step", "manual_backward"} & set(again.__dict__)
    fit(again, GradientSurgery(rules.PCGrad()))


def test_a_gradient_that_is_not_finite_is_told_before_the_step() -> None:
    class Bad(Foreign):
        def losses(self, batch: Batch) -> Tensor:
            first, second, third = super().losses(batch).unbind()
            return torch.stack([first, second * (torch.nan if self.global_step == 2 else 1.0), third])

    class Guarded(Bad):
        def on_after_backward(self) -> None:
            if any(p.grad is not None and not p.grad.isfinite().all() for p in self.parameters()):
                self.zero_grad()

    torch.manual_seed(0)
    module = Bad()
    for level in LEVELS:
        with pytest.raises(FloatingPointError, match=r"gradient of \['1'\] is not finite at step 2"):
            fit(module, GradientSurgery(rules.PCGrad(), level), steps=4)  # type: ignore[arg-type]
        assert all(p.isfinite().all() for p in module.parameters())
    with pytest.raises(FloatingPointError, match="not finite at step 2"):
        fit(Bad(), GradientSurgery(rules.GradDrop()), steps=4)
    trained(Guarded, GradientSurgery(rules.PCGrad()))
    with pytest.raises(FloatingPointError, match=r"LossBalancing: the loss of \['1'\] is not finite at step 2"):
        fit(Bad(), LossBalancing(rules.UW()), steps=4)
