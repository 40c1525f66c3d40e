"""Surgery at the outputs of shared modules."""

import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR
from foreign import TASKS, Batch, Foreign, Manual, PartlyShared, batch
from reference import jacobian
from torch import Tensor
from torch.utils.data import DataLoader

import mtlzoo
from mtlzoo.callbacks import GradientSurgery, rules
from mtlzoo.callbacks.surgery.boundary import Boundary
from mtlzoo.callbacks.surgery.taps import Taps

sys.path.insert(0, str(Path(__file__).parents[2] / "zoo"))

from train_script import SCHEMA, InMemory


def fit(module: L.LightningModule, surgery: GradientSurgery, data: Any = None, **options: Any) -> None:
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    quiet: dict[str, Any] = dict.fromkeys(off, False)
    defaults: dict[str, Any] = {"accelerator": ACCELERATOR, "precision": "64-true", "max_steps": 2}
    callbacks = [surgery, *options.pop("callbacks", [])]
    trainer = L.Trainer(**(defaults | quiet | options), callbacks=callbacks)
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
    twin = getattr(mtlzoo, model)(SCHEMA, embedding_dim=4).double()
    twin.load_state_dict(module.state_dict())
    surgery = GradientSurgery(rules.PCGrad(order="fixed"), at="representation")
    seen: list[dict[str, Tensor]] = []
    fit(module, surgery, InMemory(32), limit_val_batches=0, max_steps=1, callbacks=[Gradients(seen)])
    assert surgery.gramians is not None
    assert surgery.weights is not None
    assert (surgery.gramians[0].diagonal() > 0).all()
    found = jacobian(twin.task_losses(next(iter(InMemory(32).train_dataloader()))), dict(twin.named_parameters()))
    for name, gradients in found.items():
        there = [(w, g) for w, g in zip(surgery.weights[0], gradients, strict=True) if g is not None]
        if there:
            wanted = there[0][1] if len(there) == 1 else sum(w * g for w, g in there)
            torch.testing.assert_close(seen[0][name], wanted, rtol=1e-10, atol=1e-13, msg=name)


class Gradients(L.Callback):
    """Keeps what the optimiser is given."""

    def __init__(self, seen: list[dict[str, Tensor]]) -> None:
        self.seen = seen

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
        there = ((name, p.grad) for name, p in pl_module.named_parameters())
        self.seen.append({name: grad.to_dense().clone() for name, grad in there if grad is not None})


class Gated(Foreign):
    """Heads read what the named modules return, and also what those read: the features, through gates and directly."""

    def build(self) -> None:
        self.table = torch.nn.Embedding(20, 4)
        self.experts = torch.nn.ModuleList(torch.nn.Linear(9, 4) for _ in range(2))
        self.gates = torch.nn.ModuleList(torch.nn.Linear(9, 2) for _ in range(TASKS))
        self.direct = torch.nn.Parameter(torch.randn(9))
        self.late = torch.nn.Embedding(20, 1)
        self.heads = torch.nn.ModuleList(torch.nn.Linear(4, 1) for _ in range(TASKS))

    def outputs(self, batch: Batch) -> list[Tensor]:
        x = torch.cat([self.table(batch["ids"][:, 0]), batch["x"]], 1)
        experts = [torch.tanh(expert(x)) for expert in self.experts]
        for expert in experts:  # hooks on tensors where parts meet must run once
            expert.register_hook(lambda gradient: 3 * gradient)
        h = torch.stack(experts, 1)
        mixed = [(gate(x).softmax(1)[:, :, None] * h).sum(1) for gate in self.gates]
        outputs = [head(m).squeeze(1) for head, m in zip(self.heads, mixed, strict=True)]
        outputs[0] = outputs[0] + x @ self.direct.exp() + self.late(batch["ids"][:, 1]).squeeze(1)
        outputs[1] = outputs[1] + self.late(batch["ids"][:, 2]).squeeze(1)
        return outputs


def test_features_that_heads_read_past_the_named_modules_are_weighted_too() -> None:
    torch.manual_seed(0)
    module = Gated()
    twin = Gated()
    twin.load_state_dict(module.state_dict())
    twin.double()
    kept: list[Tensor] = []
    for expert in twin.experts:
        expert.register_forward_hook(lambda m, i, output: kept.append(output))
    parameters = dict(twin.named_parameters())
    found = jacobian(twin.losses(batch()), parameters)
    rule = rules.MGDA()
    losses = twin.losses(batch())
    z = [torch.cat([g.flatten() for g in torch.autograd.grad(one, kept[2:], retain_graph=True)]) for one in losses]
    weights = rule(torch.stack(z) @ torch.stack(z).T)
    fit(module, GradientSurgery(rule, at="representation", modules=["experts.0", "experts.1"]), max_steps=1)
    for name, gradients in found.items():
        there = [(w, g) for w, g in zip(weights, gradients, strict=True) if g is not None]
        wanted = there[0][1] if len(there) == 1 else sum(w * g for w, g in there)
        torch.testing.assert_close(module.seen[0][name], wanted, rtol=1e-10, atol=1e-13, msg=name)


def test_sparse_and_dense_gradients_of_a_table_that_heads_read_add_up() -> None:
    table = torch.nn.Embedding(4, 2, sparse=True)
    edge = torch.autograd.graph.get_gradient_edge(table.weight)
    sparse = torch.sparse_coo_tensor(torch.tensor([[1]]), torch.tensor([[1.0, 2.0]]), (4, 2), check_invariants=True)
    boundary = Boundary(meeting={(edge.node, edge.output_nr): {0: sparse, 1: torch.ones(4, 2)}})
    boundary.backward(torch.tensor([10.0, 1.0]))
    assert table.weight.grad is not None
    assert table.weight.grad.tolist() == [[1, 1], [11, 21], [1, 1], [1, 1]]


class Siamese(Foreign):
    """The trunk is called twice."""

    def outputs(self, batch: Batch) -> list[Tensor]:
        h = self.trunk(batch["x"]) - self.trunk(batch["x"].flip(0))
        return [head(h).squeeze(1) for head in self.heads]


class Kept(L.Callback):
    """How many outputs are kept at the end of batches."""

    def __init__(self, surgery: GradientSurgery) -> None:
        self.surgery = surgery
        self.numbers: list[int] = []

    def on_train_batch_end(self, *_: Any) -> None:
        assert self.surgery._operation.taps is not None
        self.numbers.append(len(self.surgery._operation.taps.outputs))

    def on_validation_batch_end(self, *_: Any) -> None:
        self.on_train_batch_end()


class Validated(Siamese):
    """Validation needs gradients, as force fields do."""

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        with torch.enable_grad():
            assert self.losses(batch).requires_grad

    def val_dataloader(self) -> Any:
        return DataLoader([batch()] * 6, batch_size=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("every", [1, 4])
def test_no_graph_is_kept_after_its_step(every: int) -> None:
    surgery = GradientSurgery(rules.MGDA(), at="representation", modules=["trunk"], every_n_steps=every)
    kept, data = Kept(surgery), DataLoader([batch()] * 6, batch_size=None)  # type: ignore[arg-type, var-annotated]
    fit(Validated(), surgery, data, max_steps=6, inference_mode=False, callbacks=[kept])
    assert len(kept.numbers) == 6 + 2 + 6  # two to begin with
    assert not any(kept.numbers)


def test_taps_forget_and_take_up_again() -> None:
    module = Siamese()
    taps = Taps(module, ["trunk"])
    for number in (0, 2, 0, 2):
        (taps.start if number else taps.stop)()
        (taps.start if number else taps.stop)()
        module.outputs(batch(dtype=torch.float32))
        assert len(taps.outputs) == number
    taps.remove()
    module.outputs(batch(dtype=torch.float32))
    assert not taps.outputs


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
