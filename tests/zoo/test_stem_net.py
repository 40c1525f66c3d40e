"""STEM-Net's options: what changes the function, what changes the gradients alone."""

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from mtlzoo import STEMNet


def build(toy: ModuleType, **options: Any) -> STEMNet:
    """Two layers with weights that make the tasks differ."""
    torch.manual_seed(0)
    module = STEMNet(
        toy.SCHEMA, **{"embedding_dim": 4, "layers": 2, "expert_units": [6], "tower_units": [4], **options}
    ).double()
    with torch.no_grad():
        for table in module.tables().values():
            table.normal_()
    return module


def reached(toy: ModuleType, module: STEMNet, task: int) -> set[str]:
    """Parameters that a task's loss has a path to."""
    rows = toy.columns(50, 0)
    losses = module.losses(module(rows), rows, module.count_observed(rows))
    losses[task].backward()
    return {name for name, parameter in module.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("gate_input", ["task+shared", "task"])
def test_layers_do_what_the_equations_say(toy: ModuleType, gate_input: str) -> None:
    """Three tasks, two layers, experts in the order of the tasks and the shared ones last."""
    module: Any = build(toy, gate_input=gate_input, task_experts=2, shared_experts=3)
    rows = toy.columns(9, 0)
    *streams, shared = [embedding(rows) for embedding in (*module.embedding.tasks, module.embedding.shared)]
    for layer in module.layers:
        own = [[expert(x) for expert in experts] for experts, x in zip(layer.task_experts, streams, strict=True)]
        everything = [h for hs in own for h in hs] + [expert(shared) for expert in layer.shared_experts]

        def mixed(gate: Any, x: Tensor, experts: list[Tensor] = everything) -> Any:
            return sum(w[:, None] * h for w, h in zip(gate(x).T, experts, strict=True))

        read = [x + shared if gate_input == "task+shared" else x for x in streams]
        streams = [mixed(gate, x) for gate, x in zip(layer.gates, read, strict=True)]
        shared = mixed(layer.shared_gate, shared) if layer.shared_gate is not None else shared
    logits = module(rows)
    for name, expected in module.towers(streams).items():
        torch.testing.assert_close(logits[name], expected)


def test_the_shared_stream_changes_gradients_alone(toy: ModuleType) -> None:
    rows = toy.columns(50, 0)
    leaky, stopped = (build(toy, shared_stream=stream) for stream in ("leaky", "stopped"))
    for name, logits in leaky(rows).items():
        torch.testing.assert_close(stopped(rows)[name], logits)
    foreign = {"embedding.tasks.1.table.weight", "layers.0.task_experts.1.0.0.weight"}
    assert foreign <= reached(toy, leaky, 0)
    assert not foreign & reached(toy, stopped, 0)
    assert {"embedding.shared.table.weight", "layers.0.shared_gate.mlp.0.weight"} <= reached(toy, stopped, 0)


def test_gates_read_the_shared_stream_or_not(toy: ModuleType) -> None:
    """With experts that give nothing and a shared stream that is moved, only gates can carry it."""
    rows = toy.columns(50, 0)
    for gate_input, moves in (("task+shared", True), ("task", False)):
        module = build(toy, gate_input=gate_input, layers=1)
        before = module(rows)["click"]
        with torch.no_grad():
            for expert in module.layers[0].shared_experts:  # type: ignore[union-attr]
                expert[0].weight.zero_()
            silent = module(rows)["click"]
            shared: Any = module.embedding.shared
            shared.table.weight.mul_(3)
        assert not torch.equal(before, silent)
        assert torch.equal(module(rows)["click"], silent) != moves


@pytest.mark.parametrize("wrong", [{"gate_input": "shared"}, {"shared_stream": "detached"}])
def test_refuses_unknown_choices(toy: ModuleType, wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"STEMNet: gate_input=.*allowed are 'task\+shared'.*'leaky'.*'stopped'"):
        build(toy, **wrong)


def test_no_gate_is_idle(toy: ModuleType) -> None:
    names: dict[str, Tensor] = dict(build(toy).named_parameters())
    assert "layers.0.shared_gate.mlp.0.weight" in names
    assert not [name for name in names if name.startswith("layers.1.shared_gate")]
