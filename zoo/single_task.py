"""Single-task: the reference that multi-task models are measured against."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mtlzoo.embedding import FeatureEmbedding
from mtlzoo.layers import MLP, Activation
from mtlzoo.module import MultiTaskModule, Schema
from mtlzoo.schema import Batch


class SingleTask(MultiTaskModule):
    """A network of its own for every task, tables included: ``y_t = mlp_t(x_t)``. The tasks share nothing.

    One run trains the references of all tasks side by side; each moves exactly as it would alone, but for clipping
    (`clip_norm` is of the joint norm) and the choice of the epoch, which is by the mean over tasks. Train with one
    task in the schema for a reference that is stopped by its own metric.

    Args:
        schema: Features and tasks.
        embedding_dim: Width of every feature's vector.
        units: Hidden layers of each network; as deep as a shared bottom with its tower.
        activation: Of all hidden layers.
        dropout: After every hidden layer.
        batch_norm: Before every activation.
        **base: Options of `MultiTaskModule`.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        units: Sequence[int] = (256, 128, 64),
        activation: Activation = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        **base: Any,
    ) -> None:
        super().__init__(schema, **base)
        hidden: dict[str, Any] = {"activation": activation, "dropout": dropout, "batch_norm": batch_norm}
        tasks = self.schema.tasks
        self.embeddings = nn.ModuleList(FeatureEmbedding(self.schema, embedding_dim, sparse=self.sparse) for _ in tasks)
        width = embedding_dim * len(self.schema.features)
        self.networks = nn.ModuleList(MLP(width, units, task.outputs, **hidden) for task in tasks)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits of every task: [B], or [B, classes]."""
        return {
            task.name: network(embedding(batch)).squeeze(-1)
            for task, embedding, network in zip(self.schema.tasks, self.embeddings, self.networks, strict=True)
        }
