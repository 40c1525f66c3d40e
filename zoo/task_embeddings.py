"""Embeddings that tasks own, instead of or beside shared ones: tables of their own, not slices of a wide one."""

from typing import Literal, TypeAlias

from torch import Tensor, nn

from mtlzoo.embedding import FeatureEmbedding
from mtlzoo.schema import Batch, FeatureSchema

EmbeddingKind: TypeAlias = Literal["shared", "multi"]


class TaskEmbeddings(nn.Module):
    """A whole `FeatureEmbedding` for every task and, if asked for, one more that all tasks share.

    Every set has tables of its own rather than columns of one wide table (as the STEM repository stores them): a
    gradient rule that took a wide table for one shared tensor would mix the tasks' private columns into it.

    Args:
        schema: Features and tasks.
        dim: Width of every feature's vector, in each set.
        shared: Whether there is a shared set.
        sparse: Gradients of the tables hold only the rows of the batch.

    Attributes:
        width: Columns of each output.

    Shape: batch -> T streams [B, width] in the order of the tasks, then the shared one if there is one.
    """

    def __init__(self, schema: FeatureSchema, dim: int, *, shared: bool, sparse: bool = False) -> None:
        super().__init__()
        self.tasks = nn.ModuleList(FeatureEmbedding(schema, dim, sparse=sparse) for _ in schema.tasks)
        self.shared = FeatureEmbedding(schema, dim, sparse=sparse) if shared else None
        self.width = dim * len(schema.features)

    def forward(self, batch: Batch) -> list[Tensor]:
        """One stream per set."""
        sets = [*self.tasks, self.shared] if self.shared is not None else [*self.tasks]
        return [embedding(batch) for embedding in sets]


def make_embedding(
    kind: EmbeddingKind,
    schema: FeatureSchema,
    dim: int,
    *,
    shared: bool = False,
    batch_norm: bool = False,
    sparse: bool = False,
) -> FeatureEmbedding | TaskEmbeddings:
    """The embedding of a model that can be had with tables for all tasks or with tables for each.

    Args:
        kind: ``shared``: one set of tables; ``multi``: one set per task.
        schema: Features and tasks.
        dim: Width of every feature's vector.
        shared: Whether ``multi`` also has a set for all, for models that have a shared stream.
        batch_norm: Whether a network with batch norm reads the streams of several tasks.
        sparse: Gradients of the tables hold only the rows of the batch.

    Raises:
        ValueError: An unknown kind; batch norm over streams that differ.
    """
    if kind == "shared":
        return FeatureEmbedding(schema, dim, sparse=sparse)
    if kind != "multi":
        raise ValueError(f"embedding={kind!r}; allowed are 'shared' and 'multi'.")
    if batch_norm:
        raise ValueError(
            "embedding='multi' with batch_norm=True: one network reads the vectors of every task, trains with the "
            "statistics of each and would predict with their mixture. Use batch_norm=False, or embedding='shared'."
        )
    return TaskEmbeddings(schema, dim, shared=shared, sparse=sparse)
