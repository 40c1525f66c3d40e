"""A manual module that calls `manual_backward` twice before a step ends where automatic accumulation does."""

from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from mtlzoo.callbacks import GradientSurgery, rules
from mtlzoo.callbacks.rules import GradientRule, GramianRule

TASKS, ROWS = 5, 3
Half = tuple[Tensor, Tensor]


class Shared(L.LightningModule):
    """A table of 3 rows and a trunk under 5 heads: more tasks than groups, of rows as of parameters."""

    def __init__(self, trunk_first: bool) -> None:
        super().__init__()
        if trunk_first:
            self.build_trunk()
        self.heads = nn.ModuleList(nn.Linear(2, 1, bias=False) for _ in range(TASKS))
        if not trunk_first:
            self.build_trunk()

    def build_trunk(self) -> None:
        self.table = nn.Embedding(ROWS, 2)
        self.trunk = nn.Linear(2, 2, bias=False)

    def losses(self, half: Half) -> Tensor:
        ids, targets = half
        h = self.trunk(self.table(ids)).tanh()
        return torch.stack(
            [3.0**-t * F.mse_loss(head(h).squeeze(1), targets[:, t]) for t, head in enumerate(self.heads)]
        )

    def training_step(self, half: Half, batch_idx: int) -> Any:
        return {"loss": self.losses(half)}

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Twice(Shared):
    """The same by hand."""

    def __init__(self, trunk_first: bool) -> None:
        super().__init__(trunk_first)
        self.automatic_optimization = False

    def training_step(self, half: Half, batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        if batch_idx % 2 == 0:
            optimizer.zero_grad()
        self.manual_backward(self.losses(half) / 2)
        if batch_idx % 2 == 1:
            optimizer.step()


def halves(steps: int) -> list[Half]:
    """Two per step; the first of a step touches fewer rows than the second, and no step all of them."""
    g = torch.Generator().manual_seed(0)
    ids = [torch.tensor([0, 0]), torch.tensor([2, 0])] * steps
    return [(some, torch.randn(2, TASKS, generator=g, dtype=torch.float64)) for some in ids]


def end(module: Shared, rule: Any, level: Any, **options: Any) -> dict[str, Any]:
    """Parameters and state after two steps."""
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    quiet: dict[str, Any] = dict.fromkeys(off, False)
    trainer = L.Trainer(
        accelerator=ACCELERATOR,
        precision="64-true",
        max_epochs=1,
        callbacks=[GradientSurgery(rule, level)],
        **quiet,
        **options,
    )
    trainer.fit(module, DataLoader(halves(2), batch_size=None))  # type: ignore[arg-type]
    return {**module.state_dict(), **rule.state_dict()}


def stateful() -> list[Any]:
    """Rules that remember anything, by level."""
    found = []
    for name in rules.__all__:
        rule: Any = getattr(rules, name)
        if issubclass(rule, GramianRule | GradientRule) and rule not in (GramianRule, GradientRule, rules.Fixed):
            levels = ("model",) if getattr(rule, "whole", False) else ("model", "parameter", "row")
            found += [pytest.param(rule, level, id=f"{name} {level}") for level in levels if rule().state_dict()]
    return found


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize("trunk_first", [True, False], ids=["trunk first", "heads first"])
@pytest.mark.parametrize(("rule_class", "level"), stateful())
def test_two_calls_in_a_step_as_automatic_accumulation(rule_class: Any, level: str, trunk_first: bool) -> None:
    ends = []
    for module_class, options in ((Shared, {"accumulate_grad_batches": 2}), (Twice, {})):
        torch.manual_seed(0)
        ends.append(end(module_class(trunk_first), rule_class(), level, **options))
    assert ends[0].keys() == ends[1].keys()
    for name, value in ends[0].items():
        if isinstance(value, Tensor):
            torch.testing.assert_close(ends[1][name], value, rtol=1e-12, atol=1e-14, msg=f"{name}: {{}}".format)
        else:
            assert ends[1][name] == value, name
