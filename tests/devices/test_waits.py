"""A table of where the host waits for a GPU in a step between two logs: whatever is not in it must not wait.

The steps are those of a training on the pretended device, after the first ones, with the transfer of the next batch.
"""

import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import train_script as toy
from chosen_device import DEVICE, NAME
from every_model import MODELS, build, trainer
from every_rule import builders
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fixtures.friends import Friends
from mtlzoo import PMTRec
from mtlzoo.callbacks import (
    ConflictMonitor,
    EmbeddingMonitor,
    GateMonitor,
    GradientSurgery,
    LossBalancing,
    StepCost,
    rules,
)
from mtlzoo.callbacks.rules import GradientRule, GramianRule, LossRule
from mtlzoo.metrics import TaskMetrics
from mtlzoo.optim import DENSE
from mtlzoo.tasks import KINDS, VECTOR_KINDS, Task

if NAME != "pretended":
    pytest.skip("counts on the pretended device: see test_pretended.py", allow_module_level=True)

from waits import counted

Waits = dict[str, int]
KINDS_OF_FRIENDS = ("recommend", "friends", "category", "rating", "alignment")


class LastStep(L.Callback):
    """Keeps the waits of the last step, from the end of the one before it."""

    def __init__(self, waits: Counter[str]) -> None:
        self.waits, self.found = waits, Counter[str]()
        self._before = Counter[str]()

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.found, self._before = self.waits - self._before, self.waits.copy()

    def on_validation_batch_end(self, trainer: Any, *_: Any) -> None:
        self.on_train_batch_end(trainer)


def step(module: L.LightningModule, *callbacks: L.Callback, data: Any = None, **options: Any) -> Waits:
    """Waits of the third step of a training."""
    with counted() as waits, tempfile.TemporaryDirectory() as folder:
        last = LastStep(waits)
        options = {"max_steps": 3, "log_every_n_steps": 100, "limit_val_batches": 0, **options}
        trainer(Path(folder), callbacks=[*callbacks, last], **options).fit(module, data or toy.InMemory(16, 72))
    return dict(last.found)


def plain(model: str, **options: Any) -> Waits:
    return step(build(toy, model, **options))


def operated(rule: type[GradientRule]) -> Waits:
    return step(build(toy), GradientSurgery(rule()))


def surgery(level: str, **options: Any) -> Waits:
    at: Any = {"at": "representation"} if level == "representation" else {"level": level}
    return step(build(toy, "MMoE", **options), GradientSurgery(rules.PCGrad(), **at))


def scaling() -> MixedPrecision:
    """fp16's scaler around arithmetic in float32: torch's autocast knows no pretended device."""
    plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler(NAME, init_scale=2.0**10))
    plugin.autocast_context_manager = lambda: torch.autocast("cpu", enabled=False)  # type: ignore[method-assign]
    return plugin


def of_kind(kind: type) -> list[type[Any]]:
    found = [getattr(rules, name) for name in rules.__all__]
    return [one for one in found if isinstance(one, type) and issubclass(one, kind) and one is not kind]


def balanced(rule: type[LossRule]) -> Waits:
    made = rule([1.0, 2.0, 3.0]) if rule is rules.FixedWeights else rule()
    return step(build(toy), LossBalancing(made))


def asked(make: Callable[[int], GramianRule]) -> Waits:
    rule = make(3)
    rule.allocate(5, 3)
    rule.to(DEVICE)
    given = {"losses": torch.rand(3).double().to(DEVICE)} if rule.needs_losses else {}
    gradients = torch.randn(5, 3, 8, dtype=torch.float64).to(DEVICE)
    groups = torch.arange(5).to(DEVICE)
    for _ in range(2):
        with counted() as waits:
            rule(gradients @ gradients.mT, groups=groups, **given)
    return dict(waits)


def friends(*callbacks: L.Callback) -> Waits:
    with tempfile.TemporaryDirectory() as folder:
        data = Friends(Path(folder), prepared=Path(folder), batch_size=64, negatives=3, kinds=KINDS_OF_FRIENDS)
        return step(PMTRec(data.schema, embedding_dim=4), *callbacks, data=data)


def validated(module: L.LightningModule, data: Any) -> Waits:
    """Waits of the third batch of a validation."""
    with counted() as waits, tempfile.TemporaryDirectory() as folder:
        last = LastStep(waits)
        trainer(Path(folder), callbacks=[last], limit_val_batches=3).validate(module, data, verbose=False)
    return dict(last.found)


def ranked() -> Waits:
    with tempfile.TemporaryDirectory() as folder:
        data = Friends(Path(folder), prepared=Path(folder), batch_size=16, negatives=3, kinds=KINDS_OF_FRIENDS)
        return validated(PMTRec(data.schema, embedding_dim=4), data)


def measured(kind: Any, weighted: bool) -> Waits:
    """Waits of an update of all metrics of a task, by users where they can be."""
    task = Task("t", kind, classes=3) if kind.startswith("multi") else Task("t", kind)
    metrics = TaskMetrics(task, grouped=kind == "binary").to(DEVICE)
    logits, labels = torch.randn(40, task.outputs), torch.randint(0, 2, (40, task.label_width)).float()
    labels[::5] = torch.nan
    weight = torch.rand(40).to(DEVICE) if weighted else None
    group = torch.randint(0, 5, (40,)).to(DEVICE)
    for _ in range(2):
        with counted() as waits:
            metrics.update(logits.to(DEVICE), labels.to(DEVICE), weight, group)
    return dict(waits)


def joint(*, tasks: int) -> Waits:
    """Losses that come of one operation, of which the graph does not tell which task reaches what."""

    class Joint(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.heads = nn.Linear(4, 4), nn.Linear(4, tasks)

        def training_step(self, batch: Tensor, batch_idx: int) -> Any:
            return {"loss": self.heads(self.trunk(batch).tanh()).square().mean(0)}

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    data: Any = DataLoader([torch.ones(9, 4, device="cpu")] * 3, batch_size=None)  # type: ignore[arg-type]
    return step(Joint(), GradientSurgery(rules.Sum(), tasks=[f"task{i}" for i in range(tasks)]), data=data)


MONITORS = (ConflictMonitor, GateMonitor, EmbeddingMonitor, StepCost)
LEVELS = ("model", "parameter", "row", "representation")
CASES: dict[str, Callable[[], Waits]] = {
    **{f"plain {name}": partial(plain, name) for name in MODELS if name != "PMTRec"},
    "plain PMTRec": friends,
    **{f"sparse {name}": partial(plain, "STEMNet", sparse=True, table_optimizer=name) for name in DENSE},
    "clipped": partial(plain, "SharedBottom", sparse=True, clip_norm=1.0),
    "accumulated": partial(plain, "SharedBottom", sparse=True, accumulate=2),
    "averaged": partial(plain, "SharedBottom", averaging=0.9),
    "logged": lambda: step(build(toy), log_every_n_steps=1),
    "scaled": lambda: step(build(toy), plugins=[scaling()]),
    "scaled surgery": lambda: step(build(toy), GradientSurgery(rules.PCGrad()), plugins=[scaling()]),
    "scaled surgery GradDrop": lambda: step(build(toy), GradientSurgery(rules.GradDrop()), plugins=[scaling()]),
    "scaled surgery representation": lambda: step(
        build(toy), GradientSurgery(rules.PCGrad(), at="representation"), plugins=[scaling()]
    ),
    "scaled balancing": lambda: step(build(toy), LossBalancing(rules.DWA()), plugins=[scaling()]),
    **{f"surgery {level}": partial(surgery, level) for level in LEVELS},
    "surgery sparse": partial(surgery, "model", sparse=True),
    "surgery accumulated": partial(surgery, "model", accumulate=2),
    "surgery PMTRec": lambda: friends(GradientSurgery(rules.PMTRecRule(), level="row")),
    "surgery of a joint loss": partial(joint, tasks=3),
    "surgery of many joint losses": partial(joint, tasks=20),
    **{f"surgery {rule.__name__}": partial(operated, rule) for rule in of_kind(GradientRule)},
    **{f"rule {case.id}": partial(asked, case.values[0]) for case in builders()},
    **{f"balancing {rule.__name__}": partial(balanced, rule) for rule in of_kind(LossRule)},
    **{
        f"metrics {kind}{' by weight' * weighted}": partial(measured, kind, weighted)
        for kind in KINDS
        if kind not in VECTOR_KINDS
        for weighted in (False, True)
    },
    "validation": lambda: validated(build(toy), toy.InMemory(16, 72)),
    "validation of rankings": ranked,
    "monitors": lambda: step(build(toy, "MMoE"), GradientSurgery(rules.Sum()), *(kind() for kind in MONITORS)),
}

SIZES = {"callbacks/surgery/lookups.py:settle: a number goes to the host": 1}
"""How many rows the batch touches; the host asks before the backward passes."""
SOLVED = {"callbacks/rules/linalg/eigen.py:_eigh: an error is looked for": 1}
"""torch asks the solver of eigenvalues whether it has failed."""
MERGED = {"callbacks/surgery/merging.py:settle: a number goes to the host": 1}
SCALED = {"lightning amp.py:optimizer_step: a number goes to the host": 1}
"""The scaler asks whether anything overflowed before it lets an optimiser step."""
OVERFLOWS = {"callbacks/surgery/task_gradients.py:finite: a number goes to the host": 1}
"""And surgery before it asks a rule, whose state such a step must not touch."""
LOGGED = {
    "lightning apply_func.py:to_item: a number goes to the host": 2,
    "lightning module.py:__to_tensor: a copy to the device": 4,
    "zoo/training/train_losses.py:means: a number goes to the host": 1,
}
WAITS: dict[str, Waits] = {
    "logged": LOGGED,
    "scaled": SCALED,
    **dict.fromkeys(("scaled surgery", "scaled surgery GradDrop"), SCALED | OVERFLOWS | SIZES),
    "scaled surgery representation": SCALED
    | {"callbacks/surgery/operation.py:_at_representation: a number goes to the host": 1},
    "scaled balancing": SCALED | {"callbacks/balancing.py:_skipped: a number goes to the host": 1},
    **{f"surgery {level}": SIZES for level in ("model", "parameter", "row", "sparse", "PMTRec")},
    "surgery accumulated": dict.fromkeys(SIZES, 2) | MERGED,
    "surgery of a joint loss": {"callbacks/surgery/passes.py:evident: a number goes to the host": 1},
    "surgery of many joint losses": {"callbacks/surgery/passes.py:_at_once: a number goes to the host": 1},
    **{f"surgery {rule.__name__}": SIZES for rule in of_kind(GradientRule)},
    **{
        f"rule {case.id}": SOLVED
        for case in builders()
        if case.id.split()[0] in ("AlignedMTL", "ConFIG", "GradCraft", "IMTLG")
    },
    "monitors": SIZES,
}
"""By case, how often the host waits, and where; what is not here does not wait."""


@pytest.mark.every_case
@pytest.mark.parametrize("case", CASES)
def test_waits_of_a_step(case: str) -> None:
    assert CASES[case]() == WAITS.get(case, {})


def test_the_table_knows_its_cases() -> None:
    assert set(WAITS) <= set(CASES)


@pytest.mark.parametrize(
    "run",
    [
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: bool((x > 0).any()),
        lambda x: torch.equal(x, x),
        lambda x: torch.allclose(x, x),
        lambda x: x.cpu(),
        lambda x: x.nonzero(),
        lambda x: x.unique(),
        lambda x: x[x > 0],
        lambda x: x.__setitem__(x > 0, x[:1]),
        lambda x: x.__setitem__(x > 0, torch.ones(2, 3, device=x.device)[0]),
        lambda x: x.masked_select(x > 0),
        lambda x: x.repeat_interleave(x.long()),
        lambda x: x.long().bincount(),
        lambda x: x[[0, 1]],
        lambda x: x.copy_(torch.ones(3, device="cpu")),
        lambda x: torch.ones(3, device="cpu").to(x.device),
        lambda x: torch.tensor([1.0], device=x.device),
        lambda x: torch.linalg.eigh(x * torch.eye(3, device=x.device)),
        lambda x: torch.linalg.inv(torch.eye(3, device=x.device)),
    ],
)
def test_finds_waits(run: Callable[[Tensor], Any]) -> None:
    x = torch.arange(1.0, 4.0).to(DEVICE)
    with counted() as waits:
        run(x)
    assert sum(waits.values()) == 1, waits
