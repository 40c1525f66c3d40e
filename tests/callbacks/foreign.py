"""Lightning modules as other people write them: nothing of mtlzoo in them, no base class, one loss per task."""

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F

TASKS = 3
Batch = dict[str, Tensor]


def batch(rows: int = 12, seed: int = 0, dtype: torch.dtype = torch.float64) -> Batch:
    """Random ids, bags, sequences, numbers and targets."""
    g = torch.Generator().manual_seed(seed)
    return {
        "ids": torch.randint(0, 20, (rows, 3), generator=g),
        "bag": torch.randint(0, 15, (rows, 4), generator=g),
        "x": torch.randn(rows, 5, generator=g, dtype=dtype),
        "y": torch.randn(rows, TASKS, generator=g, dtype=dtype),
    }


class Foreign(L.LightningModule):
    """Automatic optimisation: the vector is returned."""

    sparse = False

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, Tensor]] = []
        self.build()

    def build(self) -> None:
        self.trunk = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6), nn.ReLU(inplace=True))
        self.heads = nn.ModuleList(nn.Linear(6, 1) for _ in range(TASKS))

    def outputs(self, batch: Batch) -> list[Tensor]:
        h = self.trunk(batch["x"])
        return [head(h).squeeze(1) for head in self.heads]

    def losses(self, batch: Batch) -> Tensor:
        # Losses of very different sizes, as tasks have them.
        outputs = self.outputs(batch)
        return torch.stack([10.0**t * F.mse_loss(o, batch["y"][:, t]) for t, o in enumerate(outputs)])

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        return {"loss": self.losses(batch)}

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.seen.append({n: p.grad.to_dense().clone() for n, p in self.named_parameters() if p.grad is not None})

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class Manual(Foreign):
    """Manual optimisation."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.losses(batch))
        optimizer.step()


class TwoOptimizers(Manual):
    """Trunk and heads have an optimiser each."""

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        optimizers: Any = self.optimizers()
        trunk, heads = optimizers
        trunk.zero_grad()
        heads.zero_grad(set_to_none=False)
        self.manual_backward(self.losses(batch))
        trunk.step()
        heads.step()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.trunk.parameters(), lr=0.01), torch.optim.SGD(self.heads.parameters(), lr=0.02)


class PartlyShared(Foreign):
    """Some tasks share what others don't, as in PLE; a parameter that no task reaches, and a frozen one."""

    def build(self) -> None:
        self.own = nn.ModuleList(nn.Linear(5, 4) for _ in range(TASKS))
        self.pair = nn.Linear(5, 4)
        self.all = nn.Linear(5, 4)
        self.unused = nn.Linear(2, 2)
        self.frozen = nn.Linear(4, 4)
        self.frozen.requires_grad_(False)
        self.heads = nn.ModuleList(nn.Linear(4, 1) for _ in range(TASKS))

    def outputs(self, batch: Batch) -> list[Tensor]:
        x = batch["x"]
        mixed = [self.own[t](x) + self.all(x) + (self.pair(x) if t < 2 else 0) for t in range(TASKS)]
        return [head(self.frozen(F.gelu(m))).squeeze(1) for head, m in zip(self.heads, mixed, strict=True)]


class Tables(Foreign):
    """Tables looked up twice, with padding, in bags of every mode; all but the heads shared."""

    def build(self) -> None:
        self.ids = nn.Embedding(20, 3, padding_idx=2, sparse=self.sparse)
        self.frequent = nn.Embedding(20, 3, scale_grad_by_freq=not self.sparse, sparse=self.sparse)
        self.mean = nn.EmbeddingBag(15, 3, mode="mean", padding_idx=1, sparse=self.sparse)
        self.sum = nn.EmbeddingBag(15, 3, mode="sum", sparse=self.sparse)
        self.max = nn.EmbeddingBag(15, 3, mode="max")
        self.frozen = nn.Embedding(20, 3)
        self.frozen.requires_grad_(False)
        self.norm = nn.BatchNorm1d(24)
        self.drop = nn.Dropout(0.3)
        self.heads = nn.ModuleList(nn.Linear(24, 1) for _ in range(TASKS))

    def outputs(self, batch: Batch) -> list[Tensor]:
        ids, bag = batch["ids"], batch["bag"]
        weights = torch.linspace(0.5, 2, bag.shape[1], dtype=torch.float32).expand_as(bag).to(self.sum.weight)
        x = torch.cat(
            [
                self.ids(ids[:, 0]),
                self.ids(ids[:, 1:]).sum(1),  # the same table again
                self.frequent(ids[:, 2]),
                self.mean(bag),
                self.sum(bag, per_sample_weights=weights),
                self.sum(bag.flatten(), torch.arange(0, bag.numel(), bag.shape[1], device=bag.device)),
                self.max(bag),
                self.frozen(ids[:, 0]),
            ],
            1,
        )
        h = self.drop(self.norm(x))
        return [head(h).squeeze(1) for head in self.heads]


class SparseTables(Tables):
    """The same with sparse gradients."""

    sparse = True


class Tied(Foreign):
    """One table is input of all tasks and output layer of one; two tasks look up a table within their heads."""

    def build(self) -> None:
        self.table = nn.Embedding(20, 4)
        self.late = nn.Embedding(20, 4)
        self.mix = nn.Linear(4, 4)
        self.heads = nn.ModuleList(nn.Linear(4, 1) for _ in range(TASKS))

    def outputs(self, batch: Batch) -> list[Tensor]:
        ids = batch["ids"]
        h = torch.tanh(self.mix(self.table(ids[:, 0])))
        first = (h @ self.table.weight.T).logsumexp(1) + self.heads[0](h).squeeze(1)
        second = self.heads[1](h + self.late(ids[:, 1])).squeeze(1)
        return [first, second, self.heads[2](h * self.late(ids[:, 2])).squeeze(1)]


class Recurrent(Foreign):
    """A GRU and attention in the trunk."""

    def build(self) -> None:
        self.table = nn.Embedding(20, 4)
        self.gru = nn.GRU(4, 4, batch_first=True)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.heads = nn.ModuleList(nn.Linear(4, 1) for _ in range(TASKS))

    def outputs(self, batch: Batch) -> list[Tensor]:
        h, _ = self.gru(self.table(batch["ids"]))
        h, _ = self.attention(h, h, h)
        return [head(h.mean(1)).squeeze(1) for head in self.heads]


class ScalarField(Foreign):
    """A field u(x) whose losses hold its derivatives: no heads, everything shared, inputs that ask for gradients."""

    def build(self) -> None:
        self.net = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))

    def losses(self, batch: Batch) -> Tensor:
        x = batch["x"].clone().requires_grad_()
        u = self.net(x)
        (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        return torch.stack(
            [100 * ((slope.sum(1) - batch["y"][:, 0]) ** 2).mean(), F.mse_loss(u[:, 0], batch["y"][:, 1]), u[0].sum()]
        )


class Temperature(Foreign):
    """A shared number without dimensions."""

    def build(self) -> None:
        super().build()
        self.temperature = nn.Parameter(torch.tensor(0.7))

    def outputs(self, batch: Batch) -> list[Tensor]:
        return [output / self.temperature for output in super().outputs(batch)]


class Scaled(Foreign):
    """The vector is scaled, cast and concatenated before it is returned."""

    def losses(self, batch: Batch) -> Tensor:
        parts = [loss.reshape(1) for loss in super().losses(batch)]
        return torch.cat(parts).mul(2.0) / torch.tensor([1.0, 2.0, 4.0]).to(parts[0])


class Joint(Foreign):
    """One matrix of errors and its mean by column: the losses have no graph of their own."""

    def losses(self, batch: Batch) -> Tensor:
        errors = (torch.stack(self.outputs(batch), 1) - batch["y"]) ** 2
        return errors.mean(0) * torch.tensor([1.0, 10.0, 100.0]).to(errors)


class Silent(Foreign):
    """The second task is not observed: its loss is a constant."""

    def losses(self, batch: Batch) -> Tensor:
        outputs = self.outputs(batch)
        first, third = (F.mse_loss(outputs[t], batch["y"][:, t]) for t in (0, 2))
        return torch.stack([first, torch.zeros((), dtype=first.dtype), 10 * third])


class OnePiece(torch.autograd.Function):
    """Trunk and heads in one function of one's own: a scalar times the input, and a scalar of each task's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, trunk: Tensor, *heads: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x, trunk, *heads)
        return tuple(x * trunk * head for head in heads)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, trunk, *heads = ctx.saved_tensors
        below = sum((g * head for g, head in zip(gradients, heads, strict=True)), torch.zeros_like(x))
        return below * trunk, (below * x).sum(), *((g * x * trunk).sum() for g in gradients)


class OwnFunction(Foreign):
    """A layer and a table lie below the function; a shared number is read past it, too."""

    def build(self) -> None:
        self.table = nn.Embedding(20, 5)
        self.layer = nn.Linear(5, 5)
        self.factor = nn.Parameter(torch.tensor(0.8))
        self.factors = nn.ParameterList(torch.tensor(1.0 + t) for t in range(TASKS))

    def outputs(self, batch: Batch) -> list[Tensor]:
        x = self.layer(batch["x"] + self.table(batch["ids"][:, 0]))
        found: Any = OnePiece.apply(x, self.factor, *self.factors)  # type: ignore[no-untyped-call]
        return [o.tanh().sum(1) * self.factor for o in found]


MODULES: list[type[Foreign]] = [
    Foreign,
    Manual,
    TwoOptimizers,
    PartlyShared,
    Tables,
    SparseTables,
    Tied,
    Recurrent,
    ScalarField,
    Temperature,
    Scaled,
    Joint,
    Silent,
    OwnFunction,
]
