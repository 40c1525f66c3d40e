"""Nodes that autograd can't see into, compiled or one's own: the graph does not tell who reaches what below."""

from pathlib import Path
from typing import Any

import pytest
import torch
from fitting import LEVELS, assert_as_twin, fit
from foreign import TASKS, Batch, Foreign, Manual, OnePiece, OwnFunction, batch
from reference import jacobian
from surgery_cases import case, compare
from torch import Tensor, nn
from torch._inductor import config as inductor

from mtlzoo.callbacks import GradientSurgery, rules
from mtlzoo.callbacks.surgery.graph import read
from mtlzoo.callbacks.surgery.task_gradients import TaskGradients

QUICK = {"cpp.vec_isa_ok": False}
"""A third of what g++ has to do otherwise: no code for vectors, nor trials of which kinds of it run here."""


class Network(nn.Module):
    """A table, a trunk and all heads in one module."""

    def __init__(self, rows: int = 20) -> None:
        super().__init__()
        self.table = nn.Embedding(rows, 3)
        self.trunk = nn.Sequential(nn.Linear(8, 6), nn.Tanh())
        self.heads = nn.ModuleList(nn.Linear(6, 1) for _ in range(TASKS))

    def forward(self, ids: Tensor, x: Tensor) -> list[Tensor]:
        h = self.trunk(torch.cat([self.table(ids[:, 0]), x], 1))
        return [head(h).squeeze(1) for head in self.heads]


class Whole(Foreign):
    """The whole network is compiled, the losses are not."""

    backend: str | None = None

    def build(self) -> None:
        self.network = Network()
        network = torch.compile(self.network, backend=self.backend) if self.backend else self.network
        object.__setattr__(self, "compiled", network)

    def outputs(self, batch: Batch) -> list[Tensor]:
        network: Any = self.compiled
        outputs: list[Tensor] = network(batch["ids"], batch["x"])
        return outputs


class WholeManual(Whole, Manual):
    """The same in manual optimisation."""


class Unseen(OwnFunction):
    """One task reaches a parameter whose gradient is zero."""

    def build(self) -> None:
        super().build()
        self.silent = nn.Parameter(torch.tensor(0.5))

    def outputs(self, batch: Batch) -> list[Tensor]:
        return [o + 0.0 * self.silent if t == 1 else o for t, o in enumerate(super().outputs(batch))]


@pytest.mark.filterwarnings("ignore")  # of torch's compiler
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("module_class", [Whole, WholeManual])
def test_a_network_compiled_as_a_whole_is_exact(module_class: type[Whole], level: Any, backend: str) -> None:
    torch.manual_seed(0)
    compiled: Any = type("Compiled", (module_class,), {"backend": backend})
    module = compiled()
    with inductor.patch(QUICK):
        assert read(module.losses(batch(dtype=torch.float32))).opaque
        assert_as_twin(module, module_class(), rules.UPGrad, level)


class Scripted(Whole):
    """TorchScript makes one node of the network once it has seen it run."""

    def build(self) -> None:
        super().build()
        network: Any = torch.jit.script(ScriptedNetwork(self.network))
        object.__setattr__(self, "compiled", network)
        for _ in range(2):
            network(torch.zeros(4, 3, dtype=torch.int64), torch.zeros(4, 5))


class ScriptedNetwork(nn.Module):
    """The same, with as many heads as can be written out."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.table, self.trunk = network.table, network.trunk
        self.a, self.b, self.c = network.heads

    def forward(self, ids: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.trunk(torch.cat([self.table(ids[:, 0]), x], 1))
        return self.a(h).squeeze(1), self.b(h).squeeze(1), self.c(h).squeeze(1)


@pytest.mark.filterwarnings("ignore")  # TorchScript is out of use
@pytest.mark.parametrize("level", LEVELS)
def test_a_scripted_network_is_exact(level: Any) -> None:
    torch.manual_seed(0)
    module = Scripted()
    assert read(module.losses(batch(dtype=torch.float32))).opaque
    assert_as_twin(module, Whole(), rules.UPGrad, level)


@pytest.mark.parametrize("level", LEVELS)
def test_a_function_of_ones_own_with_several_outputs_is_exact(level: Any) -> None:
    torch.manual_seed(0)
    assert_as_twin(OwnFunction(), Plain(), rules.UPGrad, level)


class Still(Whole):
    """A task whose loss is constant, though it reaches its head."""

    def losses(self, batch: Batch) -> Tensor:
        return super().losses(batch) * torch.tensor([1.0, 0.0, 1.0]).double()


@pytest.mark.filterwarnings("ignore")  # of torch's compiler
def test_a_head_without_evidence_gets_zeros_as_without_the_compiler() -> None:
    compiled: Any = type("Compiled", (Still,), {"backend": "aot_eager"})
    module = compiled()
    fit(module, GradientSurgery(rules.UPGrad()))
    assert not module.seen[0]["network.heads.1.weight"].any()


def test_what_the_graph_cannot_tell_is_marked() -> None:
    module = Unseen().double()
    graph = read(module.losses(batch()))
    names: dict[Tensor, str] = {parameter: name for name, parameter in module.named_parameters()}
    certain = {names[leaf.parameter]: leaf.certain for leaf in graph.leaves}
    assert not graph.certain
    assert certain.pop("factor"), "all tasks read it past the function"
    assert certain.pop("silent")
    assert not any(certain.values())
    gradients = TaskGradients()
    gradients.collect(graph, module.parameters())
    reached = {names[parameter]: entry.tasks for parameter, entry in gradients}
    shared = dict.fromkeys(("table.weight", "layer.weight", "layer.bias", "factor"), 0b111)
    assert reached == shared | {f"factors.{t}": 1 << t for t in range(TASKS)} | {"silent": 0b010}
    assert {names[p] for p, entry in gradients if entry.certain} == {"factor", "silent"}


def test_a_function_whose_outputs_all_tasks_read_hides_nothing() -> None:
    module = OwnFunction().double()
    x = module.layer(batch()["x"])
    found: Any = OnePiece.apply(x, module.factor, *module.factors)  # type: ignore[no-untyped-call]
    whole = sum(output.sum(1) for output in found)
    assert read(torch.stack([whole.sum(), whole.square().sum()])).certain
    assert not read(torch.stack([whole.sum(), found[0].sum()])).certain


class Within(torch.autograd.Function):
    """Computes again in its backward pass and runs a pass of its own there, as reversible layers do."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: nn.Module) -> Tensor:
        ctx.layer = layer
        ctx.save_for_backward(x)
        with torch.no_grad():
            output: Tensor = layer(x)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None]:
        (x,) = ctx.saved_tensors
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            output = ctx.layer(x)
        torch.autograd.backward(output, gradients[0])
        return x.grad, None


class Reversible(Foreign):
    """The trunk's parameters are in no graph; nor are those of a head."""

    def outputs(self, batch: Batch) -> list[Tensor]:
        h: Any = Within.apply(batch["x"].clone().requires_grad_(), self.trunk)  # type: ignore[no-untyped-call]
        first: Any = Within.apply(h, self.heads[0])  # type: ignore[no-untyped-call]
        return [first.squeeze(1)] + [head(h).squeeze(1) for head in self.heads[1:]]


@pytest.mark.parametrize("level", LEVELS)
def test_parameters_that_a_function_trains_by_itself_get_what_the_rule_makes(level: Any) -> None:
    torch.manual_seed(0)
    assert_as_twin(Reversible(), Foreign(), rules.UPGrad, level)


@pytest.mark.filterwarnings("ignore")  # of torch's compiler
def test_large_tables_inside_a_compiled_network_are_kept_by_row() -> None:
    torch.manual_seed(0)
    network, data = Network(1 << 16).double(), batch()
    outputs = torch.compile(network, backend="aot_eager")(data["ids"] * 1000, data["x"])
    losses = torch.stack([output.square().sum() for output in outputs])
    wanted = jacobian(losses, dict(network.named_parameters()))["table.weight"]
    gradients = TaskGradients()
    gradients.collect(read(losses), network.parameters())
    entry = gradients.of[network.table.weight]
    assert not entry.dense
    gradients.settle()
    (rows,) = entry.rows
    assert rows.index.tolist() == sorted(set((data["ids"][:, 0] * 1000).tolist()))
    for task, gradient in enumerate(wanted):
        assert gradient is not None
        torch.testing.assert_close(rows.values[task], gradient[rows.index])


@pytest.mark.parametrize("options", [{"at": "representation", "modules": ["layer"]}])
def test_refuses_where_the_graph_must_tell(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="of a compiled network compile the trunk alone"):
        fit(OwnFunction(), GradientSurgery(rules.Sum(), **options))


def test_weights_are_reused_where_the_graph_cannot_tell() -> None:
    ends = []
    for module_class in (OwnFunction, Plain):
        torch.manual_seed(0)
        module = module_class()
        fit(module, GradientSurgery(rules.MGDA(), every_n_steps=2), steps=4)
        ends.append(module.state_dict())
    for name, weight in ends[1].items():
        torch.testing.assert_close(ends[0][name], weight, rtol=1e-9, atol=1e-12)


class Plain(OwnFunction):
    """The same without the function."""

    def outputs(self, batch: Batch) -> list[Tensor]:
        x = self.layer(batch["x"] + self.table(batch["ids"][:, 0]))
        return [(x * self.factor * own).tanh().sum(1) * self.factor for own in self.factors]


@pytest.mark.slow
def test_two_processes_agree_on_what_shows(tmp_path: Path) -> None:
    levels = [case("PCGrad", level, sparse=False, model="OwnFunction") | {"arguments": {}} for level in LEVELS]
    compare(tmp_path, 2, levels)
