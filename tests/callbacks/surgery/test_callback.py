"""`GradientSurgery` against dense per-task gradients, on modules that are not ours."""

import copy
from functools import partial
from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR
from fitting import LEVELS, NAMED, fit
from foreign import MODULES, Batch, Foreign, Joint, Manual, SparseTables, Tables, batch
from reference import jacobian, reference
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mtlzoo.callbacks import GradientSurgery, rules


class Seed(L.Callback):
    """The same dropout as the reference has."""

    def on_train_batch_start(self, *_: Any) -> None:
        torch.manual_seed(3)


@pytest.mark.filterwarnings("ignore:.*had no gradient in the whole epoch")  # that is what Silent is for
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("rule", ["PCGrad", "UPGrad", "MGDA"])
@pytest.mark.parametrize("module_class", MODULES)
@pytest.mark.parametrize(("precision", "tolerance"), [("64-true", 1e-12), ("32-true", 1e-6)])
def test_equals_dense_reference(
    module_class: type[Foreign], rule: str, level: Any, precision: Any, tolerance: float
) -> None:
    torch.manual_seed(0)
    module = module_class()
    options = {"order": "fixed"} if rule == "PCGrad" else {}
    make = getattr(rules, rule)
    twin = copy.deepcopy(module).to(torch.float64 if precision == "64-true" else torch.float32)
    dtype = torch.float64 if precision == "64-true" else torch.float32
    wanted = reference(twin, make(**options), level, batch(dtype=dtype))
    fit(module, Seed(), GradientSurgery(make(**options), level=level), precision=precision)
    (got, *_) = module.seen
    assert set(got) == set(wanted)
    for name, gradient in wanted.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(got[name], gradient, rtol=0, atol=tolerance * scale, msg=partial(NAMED, name))


def test_joint_losses_and_their_stack_agree() -> None:
    seen = []
    for module_class in (Foreign, Joint):
        torch.manual_seed(0)
        module = module_class()
        fit(module, GradientSurgery(rules.AlignedMTL()))
        seen.append(module.seen[0])
    for name, gradient in seen[0].items():
        torch.testing.assert_close(seen[1][name], gradient, rtol=1e-10, atol=1e-12)


class Micro(Manual):
    """Two micro-batches before each step."""

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        for half in range(2):
            self.manual_backward(self.losses({k: v.chunk(2)[half] for k, v in batch.items()}) / 2)
        optimizer.step()


class WholeTables(SparseTables):
    """Without what depends on the batch as a whole."""

    def build(self) -> None:
        super().build()
        self.norm = nn.Identity()  # type: ignore[assignment]
        self.drop = nn.Identity()  # type: ignore[assignment]


class MicroTables(Micro, WholeTables):
    """Tables that each half touches elsewhere."""


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("rule", [lambda: rules.PCGrad(), lambda: rules.MetaBalance(), lambda: rules.GradVac()])
def test_micro_batches_of_manual_optimisation_equal_the_whole_batch(level: Any, rule: Any) -> None:
    weights = []
    for module_class in (WholeTables, MicroTables):
        torch.manual_seed(0)
        module = module_class()
        fit(module, GradientSurgery(rule(), level=level), steps=4)
        weights.append(module.state_dict())
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("level", LEVELS)
def test_automatic_accumulation_equals_the_whole_batch(level: Any) -> None:
    weights = []
    for parts in (1, 3):
        torch.manual_seed(0)
        module = WholeTables()
        data = [{k: v.chunk(parts)[i] for k, v in batch(seed=s).items()} for s in range(4) for i in range(parts)]
        trainer = L.Trainer(
            max_epochs=1,
            accelerator=ACCELERATOR,
            accumulate_grad_batches=parts,
            precision="64-true",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[GradientSurgery(rules.PCGrad(), level=level)],
        )
        loader: Any = DataLoader(data, batch_size=None)  # type: ignore[arg-type]
        trainer.fit(module, loader)
        assert trainer.global_step == 4
        weights.append(module.state_dict())
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=1e-9, atol=1e-11)


def test_clipping_and_several_epochs_work() -> None:
    module = Tables()
    fit(module, GradientSurgery(rules.PCGrad()), steps=3, gradient_clip_val=0.1, max_epochs=2)
    for gradients in module.seen:
        assert torch.stack([g.square().sum() for g in gradients.values()]).sum().sqrt() > 0.1
    assert len(module.seen) == 6


@pytest.mark.parametrize("module_class", [Foreign, Manual, SparseTables])
def test_weights_are_reused_in_between(module_class: type[Foreign]) -> None:
    torch.manual_seed(0)
    module = module_class()
    rule = rules.MGDA()
    surgery = GradientSurgery(rule, every_n_steps=3)
    calls: list[Tensor] = []
    rule.register_forward_hook(lambda m, args, weights: calls.append(weights))
    fit(module, surgery, steps=7, rows=13)
    assert len(calls) == 3
    # Steps in between are one weighted pass: like a rule that gives these weights.
    torch.manual_seed(0)
    again = module_class()
    number = iter(range(7))
    fit(again, GradientSurgery(lambda gramian: calls[next(number) // 3][0]), steps=7, rows=13)
    for name, weight in module.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], weight, rtol=1e-9, atol=1e-11)


def test_gradient_rules_work_element_by_element() -> None:
    torch.manual_seed(0)
    module = Tables()
    fit(module, GradientSurgery(rules.GradDrop()))
    torch.manual_seed(0)
    plain = Tables()
    fit(plain, GradientSurgery(rules.Sum()))
    assert (module.seen[0]["ids.weight"] != plain.seen[0]["ids.weight"]).any()
    torch.testing.assert_close(module.seen[0]["heads.0.weight"], plain.seen[0]["heads.0.weight"])


@pytest.mark.filterwarnings("ignore:.*had no gradient in the whole epoch")  # that is what Silent is for
@pytest.mark.parametrize("module_class", [one for one in MODULES if not one.sparse])
def test_a_rule_of_whole_gradients_sees_all_that_is_shared(module_class: type[Foreign]) -> None:
    torch.manual_seed(0)
    module = module_class()
    twin = copy.deepcopy(module).double()
    torch.manual_seed(3)
    parameters = {name: p for name, p in twin.named_parameters() if p.requires_grad}
    losses = twin.losses(batch())
    found = jacobian(losses, parameters)
    fit(module, Seed(), GradientSurgery(rules.MoCo()))
    reached = {name: [g for g in gradients if g is not None] for name, gradients in found.items()}
    zeros = {name: torch.zeros_like(p) for name, p in parameters.items()}
    shared = {
        name: torch.stack([zeros[name] if g is None else g for g in found[name]]).reshape(3, -1)
        for name, some in reached.items()
        if len(some) > 1
    }
    whole = rules.MoCo()(torch.cat(list(shared.values()), 1), losses=losses.detach())
    parts = dict(zip(shared, whole.split([j.shape[1] for j in shared.values()]), strict=True))
    for name, some in reached.items():
        if some:
            wanted = parts[name].view_as(zeros[name]) if name in parts else some[0]
            torch.testing.assert_close(module.seen[0][name], wanted, rtol=1e-12, atol=1e-13, msg=partial(NAMED, name))


def test_a_state_of_whole_gradients_moves_once_a_step() -> None:
    """A manual module may call `manual_backward` several times: the state is that of one call with all rows."""

    class Twice(Manual):
        def training_step(self, batch: Batch, batch_idx: int) -> Any:
            optimizer: Any = self.optimizers()
            optimizer.zero_grad()
            halves = ({name: values[rows] for name, values in batch.items()} for rows in (slice(0, 6), slice(6, 12)))
            for half in halves:
                self.manual_backward(self.losses(half) / 2)
            optimizer.step()

    ends = []
    for module_class in (Manual, Twice):
        torch.manual_seed(0)
        rule, module = rules.MoCo(), module_class()
        fit(module, GradientSurgery(rule), steps=4)
        ends.append(module.state_dict() | rule.state_dict())
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, rtol=1e-10, atol=1e-12, msg=partial(NAMED, name))


def test_a_rule_of_whole_gradients_refuses_sparse_tables_and_levels() -> None:
    with pytest.raises(ValueError, match=r"sparse=True.*SDMGrad"):
        fit(SparseTables(), GradientSurgery(rules.MoCo()))
    with pytest.raises(ValueError, match="level='row' with MoCo; allowed: model"):
        GradientSurgery(rules.MoCo(), level="row")


def test_any_callable_on_a_gramian_is_a_rule() -> None:
    module = Foreign()
    fit(module, GradientSurgery(lambda gramian: torch.ones(len(gramian)) / 3, level="parameter"))
    assert module.seen


def test_untouched_sparse_gradients_hold_touched_rows_only() -> None:
    kinds: list[Any] = []

    class Look(L.Callback):
        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            grad = pl_module.ids.weight.grad
            kinds.append((grad.is_sparse, grad.is_coalesced(), len(grad.indices()[0])))

    fit(SparseTables(), GradientSurgery(rules.PCGrad(), level="row"), Look())
    touched = set(batch()["ids"].flatten().tolist()) - {2}
    assert kinds == [(True, True, len(touched))]


@pytest.mark.parametrize("names", [["a", "b", "c"], None])
def test_main_task_is_named(names: list[str] | None) -> None:
    rule = rules.MetaBalance(main_task="c" if names else "2")
    fit(Foreign(), GradientSurgery(rule, tasks=names))
    assert rule.main_task == 2


def test_gives_backward_back() -> None:
    module = Foreign()
    fit(module, GradientSurgery(rules.Sum()))
    assert "backward" not in module.__dict__
    fit(module, GradientSurgery(rules.Sum()))


class Compiled(Foreign):
    """A compiled trunk, whose backward runs once per task."""

    def outputs(self, batch: Batch) -> list[Tensor]:
        h = torch.compile(self.trunk, backend="aot_eager")(batch["x"])
        return [head(h).squeeze(1) for head in self.heads]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's compiler
def test_compiled_modules() -> None:
    seen = []
    for module_class in (Foreign, Compiled):
        torch.manual_seed(0)
        module = module_class()
        fit(module, GradientSurgery(rules.PCGrad(order="fixed")), steps=2)
        seen.append(module.seen[-1])
    for name, gradient in seen[0].items():
        torch.testing.assert_close(seen[1][name], gradient, rtol=1e-9, atol=1e-11)
