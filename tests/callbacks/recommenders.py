"""Recommenders as other people write them: tables of users and items, one loss per task, every encoder of PMTRec."""

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F

USERS, ITEMS, DIM = 30, 25, 6
TASKS = ["recommend", "alignment", "rating", "trust"]
Batch = dict[str, Tensor]


def batch(rows: int = 16, seed: int = 0) -> Batch:
    """Interactions with a negative item, a rating, and a user that is linked and one that is not."""
    g = torch.Generator().manual_seed(seed)
    users = torch.randint(0, USERS, (3, rows), generator=g)
    items = torch.randint(0, ITEMS, (2, rows), generator=g)
    found = {"user": users[0], "friend": users[1], "stranger": users[2], "item": items[0], "negative": items[1]}
    return found | {"rating": torch.randint(1, 6, (rows,), generator=g).double()}


class Recommender(L.LightningModule):
    """Matrix factorisation; losses that are means over rows, so that those of parts of a batch average.

    Args:
        fused: Users and items are rows of one table.
        sparse: The tables' gradients are sparse.
        uniformity: The second task is DirectAU's, which is no mean over rows.
    """

    def __init__(self, fused: bool = True, sparse: bool = False, uniformity: bool = True) -> None:
        super().__init__()
        self.fused, self.sparse, self.uniformity = fused, sparse, uniformity
        self.steps: list[tuple[int, Batch, dict[str, Tensor], dict[str, Tensor]]] = []
        self.build()

    @property
    def task_names(self) -> list[str]:
        return TASKS

    tables: nn.ModuleList

    def build(self) -> None:
        rows = [USERS + ITEMS] if self.fused else [USERS, ITEMS]
        self.tables = nn.ModuleList(nn.Embedding(n, DIM, sparse=self.sparse) for n in rows)

    def vectors(self, batch: Batch) -> Batch:
        """Of the users and items in a batch."""
        users, items, shift = self.tables[0], self.tables[-1], USERS if self.fused else 0
        found = {name: users(batch[name]) for name in ("user", "friend", "stranger")}
        return found | {name: items(batch[name] + shift) for name in ("item", "negative")}

    def losses(self, batch: Batch) -> Tensor:
        e = self.vectors(batch)
        user, item = e["user"], e["item"]
        score = (user * item).sum(-1)
        pair, other = ((user * e[name]).sum(-1) for name in ("friend", "stranger"))
        second = F.softplus((F.normalize(user, dim=-1) - F.normalize(item, dim=-1)).square().sum(-1)).mean()
        if self.uniformity:
            for side in (user, item):
                unit = F.normalize(side, dim=-1)
                apart = 2 - 2 * (unit @ unit.T)[torch.ones(len(unit), len(unit)).triu(1).bool()]
                second = second + 0.2 * (-2 * apart).exp().mean().log()
        return torch.stack(
            [
                F.softplus((user * e["negative"]).sum(-1) - score).mean(),
                second,
                ((score - batch["rating"].to(score)) ** 2).mean(),
                (F.softplus(-pair) + F.softplus(other)).mean() / 2,
            ]
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        self.batch = batch
        return {"loss": self.losses(batch)}

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        weights = {name: p.detach().clone() for name, p in self.named_parameters()}
        gradients = {name: p.grad.to_dense().clone() for name, p in self.named_parameters() if p.grad is not None}
        self.steps.append((self.current_epoch, self.batch, weights, gradients))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class TwoBatches(Recommender):
    """Two micro-batches before each step, in manual optimisation; its losses are the means of theirs."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.automatic_optimization = False

    def parts(self, batch: Batch) -> list[Tensor]:
        halves = [{name: column.chunk(2)[half] for name, column in batch.items()} for half in range(2)]
        return [Recommender.losses(self, half) / 2 for half in halves]

    def losses(self, batch: Batch) -> Tensor:
        first, second = self.parts(batch)
        return first + second

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        self.batch = batch
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        for losses in self.parts(batch):
            self.manual_backward(losses)
        optimizer.step()


class Graph(Recommender):
    """LightGCN's propagation: the table is multiplied, not looked up, so gradients are dense and reach neighbours."""

    def build(self) -> None:
        super().build()
        self.keep_graph()

    pairs: Tensor
    strengths: Tensor

    def keep_graph(self) -> None:
        links = _neighbours()
        # In two parts: DDP can't broadcast a sparse buffer.
        self.register_buffer("pairs", links.indices())
        self.register_buffer("strengths", links.values())

    def leaf(self) -> Tensor:
        return next(self.tables.parameters())

    def vectors(self, batch: Batch) -> Batch:
        layers = [self.leaf()]
        shape = (USERS + ITEMS, USERS + ITEMS)
        links = torch.sparse_coo_tensor(self.pairs, self.strengths.to(layers[0]), shape, check_invariants=False)
        for _ in range(2):
            layers.append(torch.sparse.mm(links, layers[-1]))
        e = torch.stack(layers).mean(0)
        found = {name: e[batch[name]] for name in ("user", "friend", "stranger")}
        return found | {name: e[batch[name] + USERS] for name in ("item", "negative")}


class PlainGraph(Graph):
    """The same with a plain parameter, as SELFRec has it."""

    def build(self) -> None:
        self.table = nn.Parameter(torch.randn(USERS + ITEMS, DIM))
        self.keep_graph()

    def leaf(self) -> Tensor:
        return self.table


class Mixed(Recommender):
    """A matrix and a scale that all tasks share beside the table, and a table that the first task alone reads."""

    def build(self) -> None:
        super().build()
        self.mix = nn.Linear(DIM, DIM)
        self.scale = nn.Parameter(torch.ones(()))
        self.bias = nn.Embedding(ITEMS, 1)

    def vectors(self, batch: Batch) -> Batch:
        return {name: self.scale * torch.tanh(self.mix(e)) for name, e in super().vectors(batch).items()}

    def losses(self, batch: Batch) -> Tensor:
        first, *others = super().losses(batch).unbind()
        return torch.stack([first + self.bias(batch["item"]).square().mean(), *others])


def _neighbours() -> Tensor:
    """A bipartite graph, normalised by degrees; some rows have no neighbour."""
    g = torch.Generator().manual_seed(1)
    users, items = torch.randint(0, USERS, (40,), generator=g), torch.randint(0, ITEMS, (40,), generator=g) + USERS
    a = torch.zeros(USERS + ITEMS, USERS + ITEMS)
    a[users, items] = a[items, users] = 1.0
    root = a.sum(1).clamp_min(1).rsqrt()
    links: Tensor = (root[:, None] * a * root).to_sparse_coo()
    return links.coalesce()


def data_of(precision: str, steps: int = 2) -> list[Any]:
    dtype = torch.float64 if precision == "64-true" else torch.float32
    return [{k: v.to(dtype) if v.is_floating_point() else v for k, v in batch(seed=s).items()} for s in range(steps)]
