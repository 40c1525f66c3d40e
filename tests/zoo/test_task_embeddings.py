"""`embedding="multi"`: the same network, with tables that only their own task trains."""

from types import ModuleType
from typing import Any

import pytest
import torch

import mtlzoo
from mtlzoo import MultiTaskModule

MODELS = ("SharedBottom", "OMoE", "MMoE", "PLE")


def build(toy: ModuleType, model: str, **options: Any) -> MultiTaskModule:
    torch.manual_seed(0)
    small = {"bottom_units": [6]} if model == "SharedBottom" else {"expert_units": [6]}
    deep = {"levels": 2} if model == "PLE" else {}
    module: MultiTaskModule = getattr(mtlzoo, model)(toy.SCHEMA, embedding_dim=4, **small, **deep, **options)
    return module.double()


def filled(module: MultiTaskModule) -> MultiTaskModule:
    """With tables in which the tasks differ."""
    with torch.no_grad():
        for table in module.tables().values():
            table.normal_()
    return module


@pytest.mark.parametrize("model", MODELS)
def test_with_equal_tables_it_is_the_shared_model(toy: ModuleType, model: str) -> None:
    shared, multi = filled(build(toy, model)), build(toy, model, embedding="multi")
    weights = shared.state_dict()
    renamed = {}
    for name in multi.state_dict():
        kind, *rest = name.split(".")
        owned = kind == "embedding"
        renamed[name] = weights[".".join([kind, *rest[2 if rest[0] == "tasks" else 1 :]]) if owned else name]
    multi.load_state_dict(renamed)
    rows = toy.columns(20, 0)
    expected = shared(rows)
    for name, logits in multi(rows).items():
        torch.testing.assert_close(logits, expected[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_tables_are_trained_by_their_own_task(toy: ModuleType, model: str, sparse: bool) -> None:
    module, rows = filled(build(toy, model, embedding="multi", sparse=sparse)), toy.columns(50, 0)
    for task in range(3):
        module.zero_grad()
        module.losses(module(rows), rows, module.count_observed(rows))[task].backward()
        reached = {name for name, table in module.tables().items() if table.grad is not None}
        if (
            model == "PLE"
        ):  # two levels: the shared stream of the first carries every task's experts, as the paper has it
            assert f"embedding.tasks.{task}.table.weight" in reached
            assert "embedding.shared.table.weight" in reached
        else:
            assert reached == {f"embedding.tasks.{task}.table.weight"}


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_compiles_as_one_graph(toy: ModuleType, model: str) -> None:
    module, rows = build(toy, model, embedding="multi").eval(), toy.columns(9, 0)
    torch.compiler.reset()
    compiled = torch.compile(module.forward, fullgraph=True, backend="aot_eager", dynamic=False)
    expected = module(rows)
    for name, logits in compiled(rows).items():
        torch.testing.assert_close(logits, expected[name])


@pytest.mark.parametrize("model", MODELS)
def test_declares_what_the_tasks_share(toy: ModuleType, model: str) -> None:
    """Where every task calls the network on vectors of its own, no output is shared."""
    assert bool(build(toy, model, embedding="multi").shared_modules) == (model == "PLE")


@pytest.mark.parametrize("model", MODELS)
def test_refuses_what_cannot_be(toy: ModuleType, model: str) -> None:
    with pytest.raises(ValueError, match="embedding='own'; allowed are 'shared' and 'multi'"):
        build(toy, model, embedding="own")
    if model != "PLE":
        with pytest.raises(ValueError, match=r"batch_norm=True.*Use batch_norm=False"):
            build(toy, model, embedding="multi", batch_norm=True)
