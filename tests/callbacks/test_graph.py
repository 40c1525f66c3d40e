"""What the graph of the losses tells about anyone's network: checkpointed, compiled, with functions of their own."""

from typing import Any

import pytest
import torch
from foreign import Batch, Foreign, batch
from test_surgery import LEVELS, fit, reference
from torch import Tensor
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from mtlzoo.callbacks import GradientSurgery, rules


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
