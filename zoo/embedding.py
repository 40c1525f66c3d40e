"""From a batch of ids and numbers to one vector per row: all tables in one lookup."""

from collections.abc import Sequence as Seq
from itertools import pairwise

import torch
from torch import Tensor, nn

from mtlzoo.callbacks.embeddings.tables import TableRows
from mtlzoo.constants import Constants
from mtlzoo.layers import MLP, demand, module_keys
from mtlzoo.schema import Batch, Categorical, FeatureSchema, Sequence


class FeatureEmbedding(Constants):
    """Embeds every feature of a schema and concatenates the vectors.

    The tables of all id features are the row ranges of one `nn.Embedding`, so that a batch costs one lookup and one
    scatter however many features there are (on a CPU 1.1 to 1.4 times as fast as a table each with sparse gradients,
    level with them with dense ones: benchmarks/embedding.py). A number v becomes ``v * w`` with one vector w per
    feature and no bias (FuxiCTR, STEM repository).

    Tables start at N(0, 1e-4^2) with zero padding rows, the vectors of numbers at Xavier normal: both as there.

    Args:
        schema: Features.
        dim: Width of every feature's vector.
        sparse: Gradients of the tables hold only the rows of the batch.

    Attributes:
        width: Columns of the output: ``dim`` times the number of features.
        offsets: First row of each table, by name.

    Shape: batch -> [B, width]; categorical features first, then sequences, then numbers, each in the schema's order.
    """

    constants = ("first", "cardinality")

    def __init__(self, schema: FeatureSchema, dim: int, *, sparse: bool = False) -> None:
        super().__init__()
        self.dim = dim
        self.sequences = schema.sequences
        self.categorical = tuple(f.name for f in schema.categorical)
        self.width = dim * len(schema.features)
        if not self.width:
            raise ValueError("FeatureEmbedding: the schema has no features.")
        self.offsets: dict[str, int] = {}
        rows = 0
        for table, cardinality in schema.tables.items():
            self.offsets[table] = rows
            rows += cardinality
        self.table = nn.Embedding(rows, dim, sparse=sparse) if rows else None
        self.numeric = nn.Parameter(torch.empty(len(schema.numeric), dim)) if schema.numeric else None
        looked_up: list[Categorical | Sequence] = [
            *schema.categorical,
            *(f for f in schema.sequences for _ in range(f.max_length)),
        ]
        dtype = torch.int32 if rows < 2**31 else torch.int64
        self.first: Tensor
        self.cardinality: Tensor
        first = [self.offsets[f.table or f.name] for f in looked_up]
        self.register_buffer("first", torch.tensor(first, dtype=dtype), persistent=False)
        self.register_buffer(
            "cardinality", torch.tensor([f.cardinality for f in looked_up], dtype=torch.int32), persistent=False
        )
        self.attention_keys = module_keys(f.name for f in schema.sequences if f.pooling == "attention")
        self.attention = nn.ModuleDict({key: TargetAttention(dim) for key in self.attention_keys.values()})
        self.reset_parameters()

    @property
    def embedding_tables(self) -> dict[str, TableRows]:
        """Where each table lies, for `EmbeddingMonitor`; its first row is the padding."""
        ends = [*self.offsets.values(), self.table.num_embeddings] if self.table is not None else []
        places = zip(self.offsets, pairwise(ends), strict=True)
        return {name: TableRows("table.weight", first, stop, first) for name, (first, stop) in places}

    def reset_parameters(self) -> None:
        """Draws the tables and the vectors of numbers."""
        if self.table is not None:
            nn.init.normal_(self.table.weight, std=1e-4)
            with torch.no_grad():
                self.table.weight[list(self.offsets.values())] = 0.0
        if self.numeric is not None:
            # Xavier normal of Linear(1, dim): each feature is a layer of its own.
            nn.init.normal_(self.numeric, std=(2 / (1 + self.dim)) ** 0.5)

    def forward(self, batch: Batch) -> Tensor:
        """One row per row of the batch.

        Raises:
            RuntimeError: An id outside its table: on a CPU at once, on a GPU when the device gets there.
        """
        parts: list[Tensor] = []
        if self.table is not None:
            keys = ["categorical"] if self.categorical else []
            ids = torch.cat([batch[key] for key in [*keys, *(s.name for s in self.sequences)]], 1)
            # One table for all: an id that is too large would silently read another feature's row.
            demand(
                ((ids >= 0) & (ids < self.cardinality)).all(),
                "an id of this batch is outside its feature's table; "
                "prepare the data with the schema the model was built from",
            )
            vectors = self.table(ids + self.first)
            lengths = [len(self.categorical), *(s.max_length for s in self.sequences)]
            categorical, *sequences = vectors.split(lengths, 1)
            parts.append(categorical.flatten(1))
            for sequence, items in zip(self.sequences, sequences, strict=True):
                parts.append(self._pool(sequence, batch[sequence.name], items, categorical))
        if self.numeric is not None:
            numbers = batch["numeric"].to(self.numeric.dtype)
            parts.append((numbers.unsqueeze(-1) * self.numeric).flatten(1))
        return torch.cat(parts, 1)

    def _pool(self, sequence: Sequence, ids: Tensor, items: Tensor, categorical: Tensor) -> Tensor:
        present = (ids != 0).unsqueeze(-1)
        if sequence.pooling == "max":
            largest = torch.where(present, items, -torch.inf).amax(1)
            return torch.where(present.any(1), largest, 0.0)
        if sequence.pooling == "attention":
            target = categorical[:, self.categorical.index(sequence.target)]
            items = items * self.attention[self.attention_keys[sequence.name]](items, target)
        total = (items * present).sum(1)
        return total / present.sum(1).clamp(min=1) if sequence.pooling == "mean" else total


class TargetAttention(nn.Module):
    """Weight of each item of a history for one target (local activation unit of DIN, KDD 2018).

    ``w = MLP([item, target, item - target, item * target])``, not normalised over the items, as in the paper.

    Args:
        dim: Width of item and target.
        units: Hidden layers; the paper has one of 36.

    Shape: items [B, L, dim], target [B, dim] -> [B, L, 1].
    """

    def __init__(self, dim: int, units: Seq[int] = (36,)) -> None:
        super().__init__()
        self.mlp = MLP(4 * dim, units, 1, activation="prelu")

    def forward(self, items: Tensor, target: Tensor) -> Tensor:
        """Weight of every item."""
        target = target.unsqueeze(1).expand_as(items)
        return self.mlp(torch.cat([items, target, items - target, items * target], -1))  # type: ignore[no-any-return]
