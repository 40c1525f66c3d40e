"""PMTRec at level `row` against Equations 3 to 6 of its paper, written down with dense gradients of whole tables."""

import copy
import math
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR
from fitting import NAMED, QUIET, fit_on
from recommenders import TASKS, Graph, Mixed, PlainGraph, Recommender, TwoBatches, data_of
from recorder import Keep
from reference import jacobian
from surgery_cases import run
from torch import Tensor

import mtlzoo
from mtlzoo.callbacks import GradientSurgery, GramianRule, PMTRecRule, Sum

sys.path.insert(0, str(Path(__file__).parents[2] / "zoo"))

from train_script import SCHEMA, InMemory

MAIN, ALPHA, TAU = 2, 1.3, 0.05
PRECISIONS = pytest.mark.parametrize(("precision", "tolerance"), [("64-true", 1e-12), ("32-true", 1e-6)])


def paper(gradients: Tensor, epoch: int, tau: float = TAU, alpha: float = ALPHA, masked: bool = False) -> Tensor:
    """Equations 4 to 6 for the gradients [T, rows, d] of Equation 3, in epoch s = 1, 2, ...; [rows, d]."""
    norms = gradients.norm(dim=-1)
    touched = norms > 0
    norms[MAIN] *= alpha**epoch
    exponents = norms / tau
    if masked:
        exponents = exponents.masked_fill(~touched & touched.any(0), -math.inf)
    combined: Tensor = (exponents.softmax(0)[..., None] * gradients).sum(0)
    return combined


def stacked(gradients: Iterable[Tensor | None], like: Tensor) -> Tensor:
    """[T, ...] in float64, 0 for tasks that don't reach it."""
    return torch.stack([torch.zeros_like(like) if g is None else g for g in gradients]).double()


def check(module: Recommender, tables: Iterable[str], tolerance: float, others: str = "rule", **options: Any) -> None:
    """Every step's gradients against the paper's, at the weights and the batch of that step."""
    twin = copy.deepcopy(module)
    parameters = dict(twin.named_parameters())
    for epoch, data, weights, got in module.steps:
        twin.load_state_dict(weights, strict=False)
        found = jacobian(twin.losses(data), parameters)
        for name, gradients in found.items():
            j = stacked(gradients, parameters[name])
            if sum(g is not None for g in gradients) == 1:
                wanted = j.sum(0)
            elif name in tables:
                wanted = paper(j, epoch + 1, **options)
            else:
                wanted = paper(j.reshape(len(j), 1, -1), epoch + 1, **options)[0].view(j.shape[1:])
                wanted = j.sum(0) if others == "sum" else wanted
            atol = tolerance * wanted.abs().max().item()
            message = partial(NAMED, f"{name} in epoch {epoch}")
            torch.testing.assert_close(got[name].double(), wanted, rtol=0, atol=atol, msg=message)


def names(module: L.LightningModule) -> list[str]:
    return [name for name, _ in module.named_parameters() if name.startswith("table")]


@PRECISIONS
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("kind", [Recommender, TwoBatches])
def test_matrix_factorisation(kind: Any, fused: bool, sparse: bool, precision: str, tolerance: float) -> None:
    module = kind(fused=fused, sparse=sparse)
    surgery = GradientSurgery(PMTRecRule(MAIN, ALPHA, TAU), level="row")
    fit_on(data_of(precision), module, surgery, precision=precision, max_epochs=3)
    assert [epoch for epoch, *_ in module.steps] == [0, 0, 1, 1, 2, 2]
    check(module, names(module), tolerance)
    assert surgery.weights is not None
    assert surgery.weights.std(0).min() > 0.01, "weights differ from row to row"


@PRECISIONS
@pytest.mark.parametrize(("kind", "tables"), [(Graph, None), (PlainGraph, ["table"])])
def test_graph_encoder(kind: Any, tables: list[str] | None, precision: str, tolerance: float) -> None:
    module = kind()
    surgery = GradientSurgery(PMTRecRule("rating", ALPHA, TAU / 5), level="row", tables=tables)
    fit_on(data_of(precision), module, surgery, precision=precision, max_epochs=2)
    check(module, names(module), tolerance, tau=TAU / 5)
    assert surgery.gramians is not None
    touched = surgery.gramians.diagonal(dim1=1, dim2=2) > 0
    assert touched.any(1).sum() > sum(len(rows) for rows in _looked_up(module)), "neighbours have gradients, too"
    assert not touched.any(1).all()


@pytest.mark.parametrize("kind", [Recommender, Graph])
def test_untouched_tasks_can_be_left_out(kind: Any) -> None:
    module = kind()
    rule = PMTRecRule(MAIN, ALPHA, TAU, mask_untouched=True)
    fit_on(data_of("64-true"), module, GradientSurgery(rule, level="row"), max_epochs=2)
    check(module, names(module), 1e-12, masked=True)
    with pytest.raises(AssertionError, match="tables"):
        check(module, names(module), 1e-12)


@PRECISIONS
@pytest.mark.parametrize("others", ["rule", "sum"])
@pytest.mark.parametrize("kind", [{"sparse": True}, {"fused": False}])
def test_other_parameters(kind: dict[str, bool], others: Any, precision: str, tolerance: float) -> None:
    module = Mixed(**kind)
    surgery = GradientSurgery(PMTRecRule(MAIN, ALPHA, TAU), level="row", others=others)
    fit_on(data_of(precision), module, surgery, precision=precision, max_epochs=2)
    check(module, names(module), tolerance, others)
    assert surgery.gramians is not None
    rows = sum(len(rows) for rows in _looked_up(module))
    assert len(surgery.gramians) == rows + (3 if others == "rule" else 0), "mix.weight, mix.bias, scale"


def _looked_up(module: Recommender) -> list[Tensor]:
    """Users and items of the last batch."""
    data = module.batch
    return [
        torch.cat([data[k] for k in side]).unique() for side in (("user", "friend", "stranger"), ("item", "negative"))
    ]


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("others", ["rule", "sum"])
@pytest.mark.parametrize("sparse", [True, False])
def test_a_model_of_the_zoo(sparse: bool, others: Any, accumulate: int) -> None:
    keep = Keep()
    module = mtlzoo.MMoE(
        SCHEMA, embedding_dim=4, experts=2, expert_units=[6], tower_units=[4], sparse=sparse, accumulate=accumulate
    ).double()
    with torch.no_grad():  # tables start at 1e-4, where the tasks hardly differ
        for table in module.tables().values():
            table.normal_()
    twin = copy.deepcopy(module)
    surgery = GradientSurgery(PMTRecRule("stars", ALPHA, TAU / 5), level="row", others=others)
    trainer = L.Trainer(
        **QUIET,
        accelerator=ACCELERATOR,
        precision="64-true",
        max_steps=1,
        limit_val_batches=0,
        callbacks=[surgery, keep],
    )
    trainer.fit(module, InMemory(64))
    parameters = dict(twin.named_parameters())
    for name, gradients in jacobian(twin.task_losses(keep.batch), parameters).items():
        j = stacked(gradients, parameters[name])
        if sum(g is not None for g in gradients) == 1 or (others == "sum" and name not in twin.tables()):
            wanted = j.sum(0)
        elif name in twin.tables():
            wanted = paper(j, 1, tau=TAU / 5)
        else:
            wanted = paper(j.reshape(len(j), 1, -1), 1, tau=TAU / 5)[0].view(j.shape[1:])
        atol = 1e-12 * wanted.abs().max().item()
        torch.testing.assert_close(keep.gradients[name], wanted, rtol=0, atol=atol, msg=partial(NAMED, name))


def test_automatic_accumulation_equals_the_whole_batch() -> None:
    ends = []
    for parts in (1, 2):
        torch.manual_seed(0)
        module = Recommender(uniformity=False)
        data = [{k: v.chunk(parts)[i] for k, v in one.items()} for one in data_of("64-true", 3) for i in range(parts)]
        surgery = GradientSurgery(PMTRecRule(MAIN, ALPHA, TAU), level="row")
        fit_on(data, module, surgery, accumulate_grad_batches=parts, max_epochs=2)
        ends.append(module.state_dict())
    for name, weight in ends[0].items():
        torch.testing.assert_close(ends[1][name], weight, rtol=1e-9, atol=1e-11)


@pytest.mark.slow
def test_two_ranks_equal_one(tmp_path: Path) -> None:
    options = {"main_task": "rating", "alpha": ALPHA, "tau": TAU}
    common: dict[str, Any] = {"rule": "PMTRecRule", "options": options, "level": "row", "steps": 6, "batch_size": 16}
    arguments = {"uniformity": False}
    cases: list[dict[str, Any]] = [
        {"model": "Recommender", "arguments": arguments | {"sparse": True}},
        {"model": "Recommender", "arguments": arguments | {"fused": False}},
        {"model": "Graph", "arguments": arguments},
        {"model": "Mixed", "arguments": arguments, "others": "sum"},
    ]
    cases = [common | case for case in cases]
    (single,) = run(tmp_path / "one", 1, cases)
    for rank in run(tmp_path / "two", 2, cases):
        for case, got, wanted in zip(cases, rank, single, strict=True):
            for name, weight in wanted.items():
                message = partial(NAMED, f"{case['model']} {name}")
                torch.testing.assert_close(got[name], weight, rtol=1e-10, atol=1e-12, msg=message)


# What follows from the equations (golden properties).


def ends(rule: GramianRule, decay: float = 0.0) -> dict[str, Tensor]:
    """Weights after five epochs of Adam."""

    class Decayed(Recommender):
        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=0.01, eps=1e-30, weight_decay=decay)

    torch.manual_seed(0)
    module = Decayed()
    fit_on(data_of("64-true", 3), module, GradientSurgery(rule, level="row"), max_epochs=5)
    return module.state_dict()


def same(got: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return all(torch.allclose(got[name], weight, rtol=1e-9, atol=1e-12) for name, weight in wanted.items())


def test_uniform_weights_are_the_sum_with_more_decay() -> None:
    uniform = ends(PMTRecRule(MAIN, tau=math.inf), decay=0.01)
    assert same(uniform, ends(Sum(), decay=0.01 * len(TASKS)))
    assert not same(uniform, ends(Sum(), decay=0.01))


def test_without_task_focusing_epochs_are_all_the_same_and_so_are_main_tasks() -> None:
    assert same(ends(PMTRecRule(0, 1.0, TAU)), ends(PMTRecRule(MAIN, 1.0, TAU)))
    assert not same(ends(PMTRecRule(0, ALPHA, TAU)), ends(PMTRecRule(MAIN, ALPHA, TAU)))


def test_the_main_task_takes_over() -> None:
    # In epoch 1,000 its row norms are 1e79 times as long: rows that it touches are its own.
    class Later(PMTRecRule):
        def set_epoch(self, epoch: int) -> None:
            super().set_epoch(epoch + 1000)

    module = Recommender()
    surgery = GradientSurgery(Later("recommend", 1.2, TAU), level="row")
    fit_on(data_of("64-true", 1), module, surgery)
    assert surgery.gramians is not None
    assert surgery.weights is not None
    touched = surgery.gramians[:, 0, 0] > 0
    wanted = torch.eye(len(TASKS), dtype=torch.float64)[0].expand(int(touched.sum()), -1)
    torch.testing.assert_close(surgery.weights[touched], wanted)
    assert (surgery.weights[~touched, 0] < 0.25 + 1e-12).all()


def test_a_table_of_one_task_gets_its_plain_gradient() -> None:
    # The paper, whose tables are one, would weigh it against the others' zeros: w < 1 everywhere.
    module = Mixed()
    fit_on(data_of("64-true", 1), module, GradientSurgery(PMTRecRule(MAIN, ALPHA, TAU), level="row"))
    ((_, data, weights, got),) = module.steps
    twin = copy.deepcopy(module)
    twin.load_state_dict(weights, strict=False)
    (plain,) = torch.autograd.grad(twin.losses(data)[0], [twin.bias.weight])
    assert plain.any()
    torch.testing.assert_close(got["bias.weight"], plain)
