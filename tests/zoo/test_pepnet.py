"""PEPNet against its equations, and where its gradients stop."""

from types import ModuleType
from typing import Any

import pytest
import torch

from mtlzoo import FeatureSchema, PEPNet

FEATURES = ("user", "item", "tags", "age")  # the order of the embedding's columns


def build(toy: ModuleType, **options: Any) -> Any:
    torch.manual_seed(0)
    given = {"prior": ["item", "age"], "domain": ["tags"], **options}
    module = PEPNet(toy.SCHEMA, embedding_dim=4, tower_units=[6, 5], gate_units=7, **given).double()
    with torch.no_grad():
        for table in module.tables().values():
            table.normal_()
    return module


def gate(units: Any, receiver: int, z: torch.Tensor) -> torch.Tensor:
    first, last = units.cross[0], units.scales[receiver][0]
    logits: torch.Tensor = (z @ first.weight.T + first.bias).clamp(min=0) @ last.weight.T + last.bias
    return 2 / (1 + (-logits).exp())


@pytest.mark.parametrize("domain", [[], ["tags"]])
def test_gates_scale_embeddings_and_layers(toy: ModuleType, domain: list[str]) -> None:
    module, rows = build(toy, domain=domain), toy.columns(9, 0)
    x = module.embedding(rows)
    vectors = dict(zip(FEATURES, x.split(4, 1), strict=True))
    o = gate(module.embedding_gate, 0, torch.cat([vectors["tags"], x], 1)) * x if domain else x
    known = torch.cat([vectors["item"], vectors["age"], o], 1)
    logits = module(rows)
    for t, task in enumerate(("click", "like", "stars")):
        h = o
        for units, layers in zip(module.gates, module.layers, strict=True):
            h = gate(units, t, known) * layers[t](h)
        torch.testing.assert_close(logits[task], module.last[t](h).squeeze(-1))


def test_the_embeddings_do_not_learn_through_what_gates_know_of_them(toy: ModuleType) -> None:
    """With layers that give nothing but a bias, only gates carry a gradient, and of the features only the prior's."""
    module, rows = build(toy, domain=[]), toy.columns(50, 0)
    with torch.no_grad():
        for layer in module.layers[0]:
            layer[0].weight.zero_()
            layer[0].bias.fill_(1.0)
    module(rows)["click"].sum().backward()
    touched = module.embedding.table.weight.grad.any(1).nonzero().flatten()
    item, tags = (module.embedding.offsets[name] for name in ("item", "tags"))
    assert len(touched)
    assert ((touched >= item) & (touched < tags)).all()
    assert module.embedding.numeric.grad.any()


def test_a_task_reaches_no_other_tasks_gates(toy: ModuleType) -> None:
    module, rows = build(toy), toy.columns(50, 0)
    module(rows)["click"].sum().backward()
    reached = {name for name, p in module.named_parameters() if p.grad is not None and name.startswith("gates")}
    assert {name.split(".")[3] for name in reached if "scales" in name} == {"0"}


def test_the_prior_is_user_and_item_by_default(toy: ModuleType) -> None:
    schema = FeatureSchema(toy.SCHEMA.features, toy.SCHEMA.tasks, user="user", item="item")
    assert PEPNet(schema).prior == [0, 1]
    with pytest.raises(ValueError, match=r"prior=\[\], domain=\[\]; allowed are features of the data.*'user'"):
        PEPNet(FeatureSchema(toy.SCHEMA.features, toy.SCHEMA.tasks))
    with pytest.raises(ValueError, match=r"domain=\['tab'\]; allowed are"):
        build(toy, domain=["tab"])
