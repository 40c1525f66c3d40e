"""From ids of users and items to vectors that are compared by their dot product."""

from abc import ABC, abstractmethod
from typing import Any, cast

import torch
from torch import Tensor, nn

from mtlzoo.callbacks.embeddings.tables import TableRows
from mtlzoo.constants import Constants
from mtlzoo.layers import demand
from mtlzoo.precision import single


class Encoder(nn.Module, ABC):
    """Vectors of users and items from one table, users first.

    Both parts of the table start Xavier uniform, as in PMTRec (IEEE BigData 2024); ids 0 (nobody) stay zero.

    Args:
        users: Ids of users are below it.
        items: Ids of items are below it.
        dim: Width of the table.
        sparse: Gradients of the table hold only the rows of the batch.

    Attributes:
        width: Width of the vectors.
    """

    needs_interactions = False
    """Whether `connect` must be called before vectors are asked for."""

    def __init__(self, users: int, items: int, dim: int, *, sparse: bool = False) -> None:
        super().__init__()
        self.users, self.items, self.width = users, items, dim
        self.table = nn.Embedding(users + items, dim, sparse=sparse)
        with torch.no_grad():
            for part in self.table.weight.split([users, items]):
                nn.init.xavier_uniform_(part)
                part[0] = 0.0

    @property
    def embedding_tables(self) -> dict[str, TableRows]:
        """Where users and items lie, for `EmbeddingMonitor`; the first row of each is nobody's."""
        ends = {"user": (0, self.users), "item": (self.users, self.users + self.items)}
        return {name: TableRows("table.weight", first, stop, first) for name, (first, stop) in ends.items()}

    def forward(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of some users and some items: int [n], [m] -> [n, width], [m, width], never half."""
        ids = torch.cat([users, items + self.users])
        # One table for both: an id that is too large would silently read another's row.
        demand(
            ((ids >= 0) & (users < self.users).all() & (ids < self.users + self.items)).all(),
            "an id of this batch is outside its table; prepare the data with the schema the model was built from",
        )
        user, item = single(self.look_up(ids)).split([len(users), len(items)])
        return user, item

    @abstractmethod
    def look_up(self, ids: Tensor) -> Tensor:
        """Vectors of rows of the table."""

    @abstractmethod
    def everything(self) -> Tensor:
        """Vectors of all users, then all items: [users + items, width]."""


class MatrixFactorization(Encoder):
    """The table itself (as in BPR, UAI 2009)."""

    def look_up(self, ids: Tensor) -> Tensor:
        """Vectors of rows of the table."""
        return cast(Tensor, self.table(ids))

    def everything(self) -> Tensor:
        """The table."""
        return self.table.weight


class GraphEncoder(Constants, Encoder):
    """An encoder that passes messages along the interactions of train.

    The gradient of its table is dense: every row near the batch is reached. The graph is kept in checkpoints.

    Args:
        users: Ids of users are below it.
        items: Ids of items are below it.
        dim: Width of the table.
        layers: Times that messages are passed.
    """

    needs_interactions = True
    constants = ("starts", "neighbours", "weights")
    starts: Tensor
    neighbours: Tensor
    weights: Tensor

    def __init__(self, users: int, items: int, dim: int, *, layers: int = 3) -> None:
        super().__init__(users, items, dim)
        self.layers = layers
        self.register_buffer("starts", torch.zeros(users + items + 1, dtype=torch.int64))
        self.register_buffer("neighbours", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("weights", torch.zeros(0))

    def connect(self, users: Tensor, items: Tensor) -> None:
        """Takes in the graph: distinct pairs of interacting ids, int [P] each; edges weigh ``1 / sqrt(d_u d_i)``."""
        device, rows = self.table.weight.device, self.users + self.items
        users, items = users.long().to(device), items.long().to(device) + self.users
        source, target = torch.cat([users, items]), torch.cat([items, users])
        degree = torch.bincount(source, minlength=rows)
        order = source.argsort(stable=True)
        self.starts = torch.cat([degree.new_zeros(1), degree.cumsum(0)])
        self.neighbours = target[order]
        root = degree.clamp(min=1).to(single(self.table.weight).dtype).rsqrt()
        self.weights = root[source[order]] * root[target[order]]

    def look_up(self, ids: Tensor) -> Tensor:
        """Vectors of some rows; messages are passed among all."""
        return self.everything()[ids]

    def spread(self, x: Tensor) -> Tensor:
        """``A x`` with the symmetrically normalised adjacency A: [rows, dim] -> [rows, dim]."""
        if not len(self.neighbours):
            raise RuntimeError(
                f"{type(self).__name__} has no graph. Train or test it with a data module of users and items, or call "
                "connect(users, items) with the interactions of train."
            )
        return cast(Tensor, _Spread.apply(x, self.starts, self.neighbours, self.weights))  # type: ignore[no-untyped-call]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        for name in ("neighbours", "weights"):  # as many as the saved graph has edges
            if (saved := state_dict.get(prefix + name)) is not None:
                setattr(self, name, getattr(self, name).new_zeros(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class _Spread(torch.autograd.Function):
    """A symmetric sparse matrix times a dense one: the gradient is the same product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, starts: Tensor, neighbours: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(starts, neighbours, weights)
        return _product(x, starts, neighbours, weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _product(gradients[0].contiguous(), *ctx.saved_tensors), None, None, None


def _product(x: Tensor, starts: Tensor, neighbours: Tensor, weights: Tensor) -> Tensor:
    # Bags of neighbours: torch's sparse products of two-dimensional tensors are slower on a CPU, and in beta.
    return nn.functional.embedding_bag(
        neighbours, x, starts, mode="sum", per_sample_weights=weights.to(x.dtype), include_last_offset=True
    )


class LightGCN(GraphEncoder):
    """The mean of ``E, A E, ..., A^K E`` (He et al., SIGIR 2020)."""

    def everything(self) -> Tensor:
        """Vectors of all users, then all items."""
        total = layer = self.table.weight
        for _ in range(self.layers):
            layer = self.spread(layer)
            total = total + layer
        return total / (self.layers + 1)


class NGCF(GraphEncoder):
    """``E_k+1 = LeakyReLU((A + I) E_k W + (A E_k * E_k) V)``, all layers side by side (Wang et al., SIGIR 2019).

    As in the authors' code the layers that are put side by side have length 1, but the first; biases as there. Its
    default adjacency is another (``D^-1 A + I``); here it is the paper's.

    Args:
        users: Ids of users are below it.
        items: Ids of items are below it.
        dim: Width of the table and of every layer.
        layers: Times that messages are passed.
        dropout: Of messages, after each layer.
    """

    def __init__(self, users: int, items: int, dim: int, *, layers: int = 3, dropout: float = 0.0) -> None:
        super().__init__(users, items, dim, layers=layers)
        self.width = dim * (layers + 1)
        self.sums = nn.ModuleList(nn.Linear(dim, dim) for _ in range(layers))
        self.products = nn.ModuleList(nn.Linear(dim, dim) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        for linear in (*self.sums, *self.products):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def everything(self) -> Tensor:
        """Vectors of all users, then all items."""
        x = self.table.weight
        layers = [x]
        for one, both in zip(self.sums, self.products, strict=True):
            near = self.spread(x)
            x = self.dropout(nn.functional.leaky_relu(one(near + x) + both(near * x), 0.2))
            layers.append(nn.functional.normalize(x, dim=1))
        return torch.cat(layers, 1)
