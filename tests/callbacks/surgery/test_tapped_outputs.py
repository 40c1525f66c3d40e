"""What shared modules return, whatever its form, is what surgery at the representation weighs."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR
from foreign import TASKS, Batch, Foreign, batch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mtlzoo.callbacks import GradientSurgery, rules


def fit(module: L.LightningModule, surgery: GradientSurgery, max_steps: int) -> None:
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    quiet: dict[str, Any] = dict.fromkeys(off, False)
    trainer = L.Trainer(accelerator=ACCELERATOR, precision="64-true", max_steps=max_steps, callbacks=[surgery], **quiet)
    trainer.fit(module, DataLoader([batch()] * 2, batch_size=None))  # type: ignore[arg-type]


@dataclass
class Encoded:
    """What an encoder returns, as libraries write it."""

    last: dict[str, list[Tensor]]
    note: str = "nothing that trains"


class Pair(NamedTuple):
    first: Tensor
    second: Encoded


class Encoder(nn.Module):
    """Returns the same in another form."""

    form: Any = staticmethod(lambda h: h)

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6))

    def forward(self, x: Tensor) -> Any:
        return type(self).form(self.net(x))


FORMS: dict[str, tuple[Any, Any]] = {
    "dictionary": (lambda h: {"last_hidden_state": h, "ids": torch.ones(2)}, lambda out: out["last_hidden_state"]),
    "dataclass": (lambda h: Encoded({"states": [h]}), lambda out: out.last["states"][0]),
    "named tuple": (
        lambda h: Pair(h[:, :3], Encoded({"rest": [h[:, 3:]]})),
        lambda out: torch.cat([out.first, out.second.last["rest"][0]], 1),
    ),
    "twice the same": (lambda h: {"states": (h,), "last": h}, lambda out: out["last"]),
}


class Encoding(Foreign):
    """The trunk is an `Encoder`."""

    read: Any = staticmethod(lambda out: out)
    encoder: type[Encoder] = Encoder

    def build(self) -> None:
        self.trunk = self.encoder()  # type: ignore[assignment]
        self.heads = nn.ModuleList(nn.Linear(6, 1) for _ in range(TASKS))

    def outputs(self, batch: Batch) -> list[Tensor]:
        h = type(self).read(self.trunk(batch["x"]))
        return [head(h).squeeze(1) for head in self.heads]


@pytest.mark.parametrize("form", FORMS)
def test_modules_may_return_anything_that_holds_tensors(form: str) -> None:
    make, read = FORMS[form]
    encoder = type("Formed", (Encoder,), {"form": staticmethod(make)})
    formed: Any = type("Forming", (Encoding,), {"encoder": encoder, "read": staticmethod(read)})
    gramians = []
    for module_class in (Encoding, formed):
        torch.manual_seed(0)
        surgery = GradientSurgery(rules.MGDA(), at="representation", modules=["trunk"])
        fit(module_class(), surgery, max_steps=2)
        gramians.append(surgery.gramians)
    torch.testing.assert_close(gramians[1], gramians[0], rtol=1e-10, atol=1e-13)


class Pooling(nn.Module):
    """Returns the last state and what it is pooled to, as BERT does."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.pool = nn.Linear(5, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = self.net(x)
        return {"last": h, "pooled": self.pool(h).tanh()}


class Pooled(Foreign):
    """Tasks read the one, the other or both."""

    readers: tuple[tuple[str, ...], ...] = ()

    def build(self) -> None:
        self.trunk = Pooling()  # type: ignore[assignment]
        self.heads = nn.ModuleList(nn.Linear(6, 1) for _ in range(TASKS))

    def outputs(self, batch: Batch) -> list[Tensor]:
        out = self.trunk(batch["x"])
        return [
            head(torch.stack([out[name] for name in names]).sum(0)).squeeze(1)
            for head, names in zip(self.heads, self.readers, strict=True)
        ]


@pytest.mark.parametrize(
    ("readers", "wanted"),
    [
        ((("pooled",), ("pooled",), ("pooled",)), ["pooled"]),
        ((("last",), ("pooled", "last"), ("pooled",)), ["last", "pooled"]),
        ((("last",), ("last",), ("pooled",)), ["last"]),  # the third task's own layer lies above what all share
    ],
)
def test_one_output_of_a_module_may_come_of_another(readers: tuple[tuple[str, ...], ...], wanted: list[str]) -> None:
    module_class: Any = type("Reading", (Pooled,), {"readers": readers})
    torch.manual_seed(0)
    module = module_class()
    twin = module_class()
    twin.load_state_dict(module.state_dict())
    twin.double()
    kept: dict[str, Tensor] = {}

    def cut(m: Any, i: Any, out: dict[str, Tensor]) -> dict[str, Tensor]:
        """Outputs that stand for themselves; what a task alone reads goes on to what it comes of."""
        if "pooled" not in wanted:
            kept["last"] = out["last"]
            return out
        kept.update({name: one.detach().requires_grad_() for name, one in out.items()})
        return dict(kept)

    twin.trunk.register_forward_hook(cut)
    losses = twin.losses(batch())
    rows = []
    for loss in losses:
        found = torch.autograd.grad(loss, [kept[name] for name in wanted], retain_graph=True, allow_unused=True)
        parts = [torch.zeros_like(kept[n]) if g is None else g for n, g in zip(wanted, found, strict=True)]
        rows.append(torch.cat([part.flatten() for part in parts]))
    z = torch.stack(rows)
    surgery = GradientSurgery(rules.Sum(), at="representation", modules=["trunk"])
    fit(module, surgery, max_steps=1)
    assert surgery.gramians is not None
    torch.testing.assert_close(surgery.gramians[0], z @ z.T, rtol=1e-10, atol=1e-13)
