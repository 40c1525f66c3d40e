"""What the graph of the losses tells about anyone's network: checkpointed, or put together and taken apart."""

import weakref
from typing import Any

import pytest
import torch
from fitting import LEVELS, assert_as_twin, fit
from foreign import TASKS, Batch, Foreign, batch
from reference import reference
from torch import Tensor, nn
from torch.nn.parallel.distributed import _DDPSink
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from mtlzoo.callbacks import GradientSurgery, rules
from mtlzoo.callbacks.surgery.graph import read


class Reentrant(Foreign):
    """The trunk is computed again in the backward pass, by a pass within the pass."""

    def outputs(self, batch: Batch) -> list[Tensor]:
        h = checkpoint(self.trunk, batch["x"].clone().requires_grad_(), use_reentrant=True)
        return [head(h).squeeze(1) for head in self.heads]


class ReentrantHead(Foreign):
    """One head is, behind a trunk that trains."""

    def outputs(self, batch: Batch) -> list[Tensor]:
        h = self.trunk(batch["x"])
        return [checkpoint(self.heads[0], h, use_reentrant=True).squeeze(1)] + [
            head(h).squeeze(1) for head in self.heads[1:]
        ]


class CheckpointFunction(torch.autograd.Function):
    """As fairscale, DeepSpeed and Megatron name theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class Named(Foreign):
    """A library's own checkpointing."""

    def outputs(self, batch: Batch) -> list[Tensor]:
        h = CheckpointFunction.apply(self.trunk(batch["x"]))  # type: ignore[no-untyped-call]
        return [head(h).squeeze(1) for head in self.heads]


@pytest.mark.parametrize("module_class", [Reentrant, ReentrantHead, Named])
@pytest.mark.parametrize("options", [{}, {"at": "representation", "modules": ["trunk"]}, {"every_n_steps": 2}])
def test_refuses_reentrant_checkpointing_with_the_remedy(module_class: type[Foreign], options: Any) -> None:
    with pytest.raises(ValueError, match=r"CheckpointFunctionBackward in the graph.*use_reentrant=False"):
        fit(module_class(), GradientSurgery(rules.Sum(), **options))


class Checkpointed(Foreign):
    """The trunk is computed again when its tensors are asked for; one head, too, but for its products."""

    def outputs(self, batch: Batch) -> list[Tensor]:
        def products_are_kept(ctx: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
            kept = op in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)
            return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE

        def selective() -> Any:
            return create_selective_checkpoint_contexts(products_are_kept)

        h = checkpoint(self.trunk, batch["x"], use_reentrant=False)
        first = checkpoint(self.heads[0], h, use_reentrant=False, context_fn=selective)
        return [first.squeeze(1)] + [head(h).squeeze(1) for head in self.heads[1:]]


@pytest.mark.parametrize("level", LEVELS)
def test_checkpointing_that_is_not_reentrant_is_exact(level: Any) -> None:
    torch.manual_seed(0)
    module, twin = Checkpointed(), Foreign()
    twin.load_state_dict(module.state_dict())
    wanted = reference(twin.double(), rules.UPGrad(), level, batch())
    fit(module, GradientSurgery(rules.UPGrad(), level=level))
    assert set(module.seen[0]) == set(wanted)
    for name, gradient in wanted.items():
        torch.testing.assert_close(module.seen[0][name], gradient, rtol=1e-9, atol=1e-12)


class PutTogether(Foreign):
    """The heads' outputs are put together, and each loss takes its own part of them."""

    join: Any = staticmethod(lambda outputs: torch.cat([o[:, None] for o in outputs], 1).sigmoid())
    take: Any = staticmethod(lambda whole, t: whole[:, t])

    def outputs(self, batch: Batch) -> list[Tensor]:
        whole = type(self).join(super().outputs(batch))
        return [type(self).take(whole, t) for t in range(TASKS)]


class Apart(Foreign):
    """The same outputs, each by itself."""

    def outputs(self, batch: Batch) -> list[Tensor]:
        return [output.sigmoid() for output in super().outputs(batch)]


WAYS: dict[str, tuple[Any, Any]] = {
    "cat": (lambda outputs: torch.cat([o[:, None] for o in outputs], 1).sigmoid(), lambda whole, t: whole[:, t]),
    "slice": (
        lambda outputs: torch.cat([o[:, None] for o in outputs], -1).sigmoid(),
        lambda w, t: w[:, t : t + 1][:, 0],
    ),
    "stack": (lambda outputs: torch.stack(outputs).sigmoid(), lambda whole, t: whole[t]),
    "last": (lambda outputs: torch.stack(outputs, -1).sigmoid(), lambda whole, t: whole[..., t - TASKS]),
    "unbind": (lambda outputs: torch.stack(outputs, 1).sigmoid().unbind(1), lambda parts, t: parts[t]),
    "split": (lambda outputs: torch.cat(outputs).sigmoid().split(12), lambda parts, t: parts[t]),
    "index": (lambda outputs: torch.stack(outputs, 1).sigmoid(), lambda whole, t: whole[:, [t]].squeeze(1)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("level", LEVELS)
def test_outputs_that_are_put_together_and_taken_apart_are_exact(way: str, level: Any) -> None:
    join, take = WAYS[way]
    module_class: Any = type("Put", (PutTogether,), {"join": staticmethod(join), "take": staticmethod(take)})
    torch.manual_seed(0)
    assert_as_twin(module_class(), Apart(), rules.UPGrad, level)


class Mixture(Foreign):
    """Experts and features are put together, and all tasks read the whole; gates are parts of one layer's output."""

    def build(self) -> None:
        self.table = nn.Embedding(20, 3)
        self.experts = nn.ModuleList(nn.Linear(6, 4) for _ in range(2))
        self.gates = nn.Linear(6, 2 * TASKS)
        self.heads = nn.ModuleList(nn.Linear(4, 1) for _ in range(TASKS))

    def outputs(self, batch: Batch) -> list[Tensor]:
        x = torch.cat([self.table(batch["ids"][:, 0]), batch["x"]], 1)[:, :6]
        h = torch.stack([expert(x) for expert in self.experts], 1)
        gates = self.gates(x).view(-1, TASKS, 2).softmax(2)
        return [head((gates[:, t, :, None] * h).sum(1)).squeeze(1) for t, head in enumerate(self.heads)]


def test_parts_that_hide_nothing_leave_the_graph_certain() -> None:
    for module in (Mixture(), Foreign(), Apart()):
        assert read(module.double().losses(batch())).certain
    graph = read(PutTogether().double().losses(batch()))
    assert not any(leaf.certain for leaf in graph.leaves)


class Sink:
    """What DDP's own node asks of DDP."""

    reducer = static_graph = None
    _ddp_sink_clone = True


def test_ddp_that_looks_for_unused_parameters_hides_nothing() -> None:
    module, ddp = Foreign().double(), Sink()
    losses, outputs = module.losses(batch()), module.outputs(batch())
    _, passed = _DDPSink.apply(weakref.ref(ddp), outputs[0], losses)
    wanted, found = read(losses), read(passed / 2)
    assert found.certain
    assert not found.opaque
    for one, other in zip(found.roots, wanted.roots, strict=True):
        assert one is not None
        assert other is not None
        assert one.edge.node is other.edge.node
        torch.testing.assert_close(one.gradient, other.gradient / 2)
