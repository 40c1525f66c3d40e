"""Surgery at the outputs of shared modules."""

import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from foreign import TASKS, Batch, Foreign, Manual, PartlyShared, batch
from torch import Tensor
from torch.utils.data import DataLoader

import mtlzoo
from mtlzoo.callbacks import GradientSurgery, rules

sys.path.insert(0, str(Path(__file__).parents[1] / "zoo"))

from train_script import SCHEMA, InMemory


def fit(module: L.LightningModule, surgery: GradientSurgery, data: Any = None, **options: Any) -> None:
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    quiet: dict[str, Any] = dict.fromkeys(off, False)
    defaults: dict[str, Any] = {"accelerator": "cpu", "precision": "64-true", "max_steps": 2}
    trainer = L.Trainer(**(defaults | quiet | options), callbacks=[surgery])
    trainer.fit(module, data or DataLoader([batch()] * 2, batch_size=None))  # type: ignore[arg-type]


@pytest.mark.parametrize("module_class", [Foreign, Manual])
def test_weights_come_from_the_outputs_and_heads_stay_unweighted(module_class: type[Foreign]) -> None:
    torch.manual_seed(0)
    module = module_class()
    rule = rules.MGDA()
    twin = module_class()
    twin.load_state_dict(module.state_dict())
    twin.double()
    kept: list[Tensor] = []
    twin.trunk.register_forward_hook(lambda m, i, output: kept.append(output))
    losses = [
        10.0**t * torch.nn.functional.mse_loss(o, batch()["y"][:, t]) for t, o in enumerate(twin.outputs(batch()))
    ]
    z = torch.stack([torch.autograd.grad(loss, kept[0], retain_graph=True)[0].flatten() for loss in losses])
    weights = rule(z @ z.T)
    surgery = GradientSurgery(rule, at="representation", modules=["trunk"])
    fit(module, surgery, max_steps=1)
    for name, parameter in twin.named_parameters():
        found = [torch.autograd.grad(one, parameter, retain_graph=True, allow_unused=True)[0] for one in losses]
        alone = [g for g in found if g is not None]
        wanted = alone[0] if len(alone) == 1 else sum(w * g for w, g in zip(weights, alone, strict=True))
        assert len(alone) in (1, TASKS)
        torch.testing.assert_close(module.seen[0][name], wanted, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("model", ["SharedBottom", "OMoE", "MMoE", "PLE"])
def test_zoo_models_declare_their_representation(model: str) -> None:
    torch.manual_seed(0)
    module = getattr(mtlzoo, model)(SCHEMA, embedding_dim=4)
    surgery = GradientSurgery(rules.PCGrad(), at="representation")
    fit(module, surgery, InMemory(32), limit_val_batches=0)
    assert surgery.gramians is not None and (surgery.gramians[0].diagonal() > 0).all()  # noqa: PT018


class Nested(PartlyShared):
    """One named module feeds another."""

    def outputs(self, batch: Batch) -> list[Tensor]:
        h = self.pair(batch["x"])
        h = self.heads[0](h) + self.frozen(h)
        return [head(h).squeeze(1) for head in self.heads]


@pytest.mark.parametrize(
    ("module", "modules", "options", "message"),
    [
        (Foreign, None, {}, "declares none"),
        (Foreign, ["bottom"], {}, "has no modules \\['bottom'\\]"),
        (Nested, ["pair", "frozen"], {}, "one module feeds another"),
        (Foreign, ["trunk"], {"accumulate_grad_batches": 2}, "all rows of a step in one backward pass"),
    ],
)
def test_refuses(module: type[Foreign], modules: list[str] | None, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(module(), GradientSurgery(rules.Sum(), at="representation", modules=modules), **options)


def test_refuses_other_levels() -> None:
    with pytest.raises(ValueError, match="allowed is level='model'"):
        GradientSurgery(rules.Sum(), at="representation", level="row")
    with pytest.raises(ValueError, match="allowed are 'parameters' and 'representation'"):
        GradientSurgery(rules.Sum(), at="outputs")  # type: ignore[arg-type]
