"""The forms in which modules hand over their losses; all give what a vector gives."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from fitting import fit
from foreign import Batch, Foreign, Manual
from lightning.pytorch.callbacks import LearningRateFinder
from torch import Tensor

from mtlzoo.callbacks import GradientSurgery, LossBalancing, rules
from mtlzoo.callbacks.handover import arranged, stacked

NAMES = ["like", "share", "watch"]
NAMED = "{}: {}".format


def named(losses: Tensor) -> dict[str, Tensor]:
    return dict(zip(NAMES, losses.unbind(), strict=True))


FORMS: dict[str, Callable[[Tensor], Any]] = {
    "dictionary": lambda v: {"loss": named(v)},
    "list": lambda v: list(v.unbind()),
    "tuple below loss": lambda v: {"loss": tuple(v.unbind())},
    "vector beside": lambda v: {"loss": v.sum(), "losses": v},
    "dictionary beside": lambda v: {"loss": v.sum(), "losses": named(v), "more": 1},
    "list beside a number without graph": lambda v: {"loss": v.sum().detach(), "losses": list(v.unbind())},
}


def callbacks() -> list[Callable[[], L.Callback]]:
    return [
        lambda: GradientSurgery(rules.PCGrad()),
        lambda: GradientSurgery(rules.MetaBalance(), level="parameter"),
        lambda: LossBalancing(rules.UW()),
    ]


def ends(module_class: type[Foreign], callback: L.Callback, **options: Any) -> dict[str, Tensor]:
    torch.manual_seed(0)
    module = module_class()
    fit(module, callback, steps=4, **options)
    return {name: weight.clone() for name, weight in module.state_dict().items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor], tolerance: float = 1e-12) -> None:
    for name, weight in one.items():
        torch.testing.assert_close(other[name], weight, rtol=tolerance, atol=tolerance, msg=partial(NAMED, name))


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("callback", callbacks())
@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_every_form_is_the_vector(form: Any, callback: Any, accumulate: int) -> None:
    class Handing(Foreign):
        def training_step(self, batch: Batch, batch_idx: int) -> Any:
            return form(self.losses(batch))

    options = {"accumulate_grad_batches": accumulate}
    assert_same(ends(Foreign, callback(), **options), ends(Handing, callback(), **options))


@pytest.mark.parametrize("callback", callbacks())
@pytest.mark.parametrize("form", [named, lambda v: list(v.unbind())], ids=["dictionary", "list"])
def test_every_form_is_the_vector_in_manual_optimisation(form: Any, callback: Any) -> None:
    class Handing(Manual):
        def manual_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
            super().manual_backward(loss, *args, **kwargs)

        def training_step(self, batch: Batch, batch_idx: int) -> Any:
            optimizer: Any = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(form(self.losses(batch)))
            optimizer.step()

    assert_same(ends(Manual, callback()), ends(Handing, callback()))


class Shuffled(Foreign):
    """Names its losses, in another order in every other step, and leaves out what nobody observed."""

    leaves_out = False

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        losses = named(self.losses(batch))
        if batch_idx % 2:
            losses = dict(reversed(losses.items()))
        if self.leaves_out and batch_idx == 2:
            del losses["share"]
        return {"loss": losses}


@pytest.mark.parametrize("callback", callbacks())
def test_names_say_which_loss_is_which(callback: Any) -> None:
    assert_same(ends(Foreign, callback()), ends(Shuffled, callback()))


class LeavingOut(Shuffled):
    leaves_out = True


class Zero(Foreign):
    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        losses = named(self.losses(batch))
        if batch_idx == 2:
            losses["share"] = torch.zeros((), dtype=losses["like"].dtype)
        return {"loss": torch.stack(list(losses.values()))}


@pytest.mark.parametrize(
    "callback", [lambda **o: GradientSurgery(rules.GradVac(), **o), lambda **o: LossBalancing(rules.UW(), **o)]
)
def test_a_missing_name_is_a_task_that_nobody_observed(callback: Any) -> None:
    assert_same(ends(Zero, callback()), ends(LeavingOut, callback(tasks=NAMES)))
    with pytest.raises(ValueError, match=r"name all tasks once: .*tasks=\['like', 'share', 'watch'\]"):
        ends(LeavingOut, callback())


def test_names_reach_the_rule_and_the_callback() -> None:
    rule = rules.MetaBalance(main_task="watch")
    surgery = GradientSurgery(rule)
    ends(Shuffled, surgery)
    assert rule.main_task == 2
    assert surgery.names == NAMES


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({"a": torch.ones(3), "b": torch.ones(())}, r"'a' must be one number; found the shape \(3,\)"),
        ([torch.ones(()), "b"], "'1' must be one number; found str"),
        ({"a": 1.0}, "found no losses in dict"),
        ({}, "found no losses in dict"),
    ],
)
def test_what_is_no_loss_is_refused(losses: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stacked("GradientSurgery", losses)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"losses named \['a', 'c'\] where the tasks are \['a', 'b'\]"):
        arranged("GradientSurgery", torch.ones(2), ["a", "c"], ["a", "b"], missing=True)


def test_a_number_that_is_not_the_sum_is_told() -> None:
    class Regularised(Foreign):
        def training_step(self, batch: Batch, batch_idx: int) -> Any:
            losses = self.losses(batch)
            return {"loss": losses.sum() + 100, "losses": losses}

    with pytest.warns(UserWarning, match="weights of the tasks and regularisers belong into them"):
        fit(Regularised(), GradientSurgery(rules.Sum()))


class Lbfgs(Foreign):
    beside = True

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        losses = self.losses(batch)
        return {"loss": losses.sum(), "losses": losses} if self.beside else losses

    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), max_iter=3)


def test_lbfgs_gets_its_number() -> None:
    class Plain(Lbfgs):
        def training_step(self, batch: Batch, batch_idx: int) -> Any:
            return self.losses(batch).sum()

    torch.manual_seed(0)
    plain = Plain()
    fit(plain, steps=2)
    torch.manual_seed(0)
    module = Lbfgs()
    fit(module, GradientSurgery(rules.Sum()), steps=2)
    assert_same(dict(plain.state_dict()), dict(module.state_dict()), 1e-9)

    class Vector(Lbfgs):
        beside = False

    for callback in (GradientSurgery(rules.Sum()), LossBalancing(rules.UW())):
        with pytest.raises(ValueError, match="LBFGS asks for the loss as a number"):
            fit(Vector(), callback)


@pytest.mark.filterwarnings("ignore::Warning")  # of the finder, about the number of workers and its own pictures
def test_the_learning_rate_finder_gets_its_number(tmp_path: Path) -> None:
    class Found(Foreign):
        lr = 1e-3

        def training_step(self, batch: Batch, batch_idx: int) -> Any:
            losses = self.losses(batch)
            return {"loss": losses.sum(), "losses": losses}

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=self.lr)

    class Vector(Found):
        def training_step(self, batch: Batch, batch_idx: int) -> Any:
            return self.losses(batch)

    options: dict[str, Any] = {"enable_checkpointing": True, "default_root_dir": tmp_path}
    finder = partial(LearningRateFinder, num_training_steps=4)
    surgery = GradientSurgery(rules.GradVac())
    fit(Found(), finder(), surgery, steps=8, **options)
    with pytest.raises(ValueError, match="The learning rate finder asks for the loss as a number"):
        fit(Vector(), finder(), GradientSurgery(rules.GradVac()), steps=8, **options)


def test_a_step_without_batch_index_is_served() -> None:
    class Short(Foreign):
        def training_step(self, batch: Batch) -> Any:  # type: ignore[override]
            return {"loss": named(self.losses(batch))}

    assert_same(ends(Foreign, GradientSurgery(rules.Sum())), ends(Short, GradientSurgery(rules.Sum())))


def test_task_names_may_be_a_method() -> None:
    class Named(Foreign):
        def task_names(self) -> list[str]:
            return NAMES

    surgery = GradientSurgery(rules.MetaBalance(main_task="share"))
    fit(Named(), surgery)
    assert surgery.names == NAMES
