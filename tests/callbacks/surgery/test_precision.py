"""Surgery in mixed precision: rules see unscaled gradients, and a step that overflows leaves no trace."""

from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR
from foreign import Batch, Foreign, Manual, SparseTables, Tied, batch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mtlzoo.callbacks import GradientSurgery, rules


def fit(module: Foreign, surgery: GradientSurgery, plugin: Any, steps: int = 3) -> L.Trainer:
    """Trains on a few batches with a precision plugin."""
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = L.Trainer(accelerator=ACCELERATOR, max_epochs=1, plugins=[plugin], callbacks=[surgery], **quiet)  # type: ignore[arg-type]
    data: Any = [batch(seed=seed, dtype=torch.float32) for seed in range(steps)]
    trainer.fit(module, DataLoader(data, batch_size=None))
    return trainer


def scaled(scale: float) -> MixedPrecision:
    """A GradScaler around arithmetic in float32, so that only the scaling differs."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)
    plugin = MixedPrecision("16-mixed", "cpu", scaler=scaler)
    plugin.autocast_context_manager = lambda: torch.autocast("cpu", enabled=False)  # type: ignore[method-assign]
    return plugin


class ManualSparse(Manual, SparseTables):
    """Sparse tables in manual optimisation."""


@pytest.mark.parametrize("module_class", [Foreign, Manual, ManualSparse])
@pytest.mark.parametrize("level", ["model", "parameter", "row"])
@pytest.mark.parametrize("rule", [rules.NashMTL, rules.PMTRecRule, rules.MetaBalance])
def test_scaling_changes_nothing(module_class: type[Foreign], level: Any, rule: Any) -> None:
    # NashMTL and PMTRec depend on the scale of gradients: scaled ones would give other weights.
    ends = []
    for scale in (1.0, 2.0**12):
        torch.manual_seed(0)
        module = module_class()
        surgery = GradientSurgery(rule(), level=level)
        torch.manual_seed(3)
        fit(module, surgery, scaled(scale))
        ends.append((module.state_dict(), surgery.weights))
    for name, weight in ends[0][0].items():
        torch.testing.assert_close(ends[1][0][name], weight, rtol=1e-5, atol=1e-7)


GRADIENT_RULES = [
    rule
    for rule in vars(rules).values()
    if isinstance(rule, type) and issubclass(rule, rules.GradientRule) and rule is not rules.GradientRule
]


class Longest(rules.GradientRule):
    """Cuts off what is longer than 1: the result depends on the scale of gradients."""

    def solve(self, gradients: Tensor, *, losses: Tensor | None) -> Tensor:
        return gradients.clamp(-1.0, 1.0).sum(0)


@pytest.mark.parametrize("module_class", [Foreign, Manual])
@pytest.mark.parametrize("rule", [*GRADIENT_RULES, Longest])
def test_scaling_changes_nothing_for_rules_of_gradients(module_class: type[Foreign], rule: Any) -> None:
    ends = []
    for scale in (1.0, 2.0**12):
        torch.manual_seed(0)
        module = module_class()
        start = {name: weight.cpu().clone() for name, weight in module.state_dict().items()}
        fit(module, GradientSurgery(rule()), scaled(scale))
        ends.append({name: weight.cpu() - start[name] for name, weight in module.state_dict().items()})
    for name, moved in ends[0].items():
        assert moved.any(), name
        torch.testing.assert_close(ends[1][name], moved, rtol=1e-5, atol=1e-7)


class Overflowing(Foreign):
    """The loss of the second batch is too large to be scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def losses(self, batch: Batch) -> Tensor:
        self.number += 1
        return super().losses(batch) * (1e38 if self.number == 2 else 1.0)


class OverflowingHead(Tied):
    """The same in one parameter alone, which the rule does not see: a head, or shared and left the plain sum."""

    tasks = 1

    def build(self) -> None:
        super().build()
        self.number = 0
        self.own = nn.Parameter(torch.zeros(()))

    def losses(self, batch: Batch) -> Tensor:
        self.number += 1
        extra = self.own * (1e38 if self.number == 2 else 1.0)
        return torch.stack([loss + extra if t < self.tasks else loss for t, loss in enumerate(super().losses(batch))])


class OverflowingShared(OverflowingHead):
    """Two tasks reach it."""

    tasks = 2


@pytest.mark.parametrize("rule", [rules.GradVac, rules.MetaBalance, rules.PCGrad, rules.GradDrop, rules.MoCo])
@pytest.mark.parametrize(
    ("kind", "options"),
    [(Overflowing, {}), (OverflowingHead, {}), (OverflowingShared, {"level": "row", "others": "sum"})],
)
def test_an_overflowing_step_leaves_no_trace(kind: type[Foreign], options: dict[str, Any], rule: Any) -> None:
    if options and issubclass(rule, rules.GradientRule):
        pytest.skip("has no level")
    states = []
    for steps in (1, 2):
        torch.manual_seed(0)
        module = kind()
        surgery = GradientSurgery(rule(), **options)
        fit(module, surgery, scaled(2.0**12), steps)
        states.append(
            ({n: p.clone() for n, p in module.state_dict().items()}, surgery.state_dict()["vectors"][0]["rule"])
        )
    (weights, state), (after, kept) = states
    assert all(torch.equal(after[name], weight) for name, weight in weights.items())
    assert set(kept) == set(state)
    for name, value in state.items():
        same = torch.equal(kept[name], value) if torch.is_tensor(value) else kept[name] == value
        assert same, name


@pytest.mark.parametrize("level", ["model", "row"])
def test_bfloat16(level: Any) -> None:
    torch.manual_seed(0)
    module = SparseTables()
    fit(module, GradientSurgery(rules.PCGrad(), level=level), MixedPrecision("bf16-mixed", "cpu"))
    assert all(p.isfinite().all() and p.dtype == torch.float32 for p in module.parameters())
