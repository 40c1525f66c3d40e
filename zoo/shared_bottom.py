"""Shared-Bottom: one network for all tasks, a tower for each (Caruana, Machine Learning 1997)."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mtlzoo.layers import MLP, Activation, Towers
from mtlzoo.module import MultiTaskModule, Schema
from mtlzoo.schema import Batch
from mtlzoo.task_embeddings import EmbeddingKind, make_embedding


class SharedBottom(MultiTaskModule):
    """``y_t = tower_t(bottom(x))``, x the features' vectors side by side.

    Source: Caruana, "Multitask Learning", Machine Learning 28 (1997). The bottom ends in its activation, the towers in
    a Linear, as in the STEM repository, whose sizes are bottom 512-512-512, towers 128-128.

    Args:
        schema: Features and tasks.
        embedding_dim: Width of every feature's vector (16 in the STEM repository).
        embedding: ``shared``: one set of tables. ``multi``: a set per task; the bottom is still one, and reads every
            task's vectors in turn, ``y_t = tower_t(bottom(x_t))``.
        bottom_units: Hidden layers of the shared network.
        tower_units: Hidden layers of each tower.
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
        embedding: EmbeddingKind = "shared",
        bottom_units: Sequence[int] = (256, 128),
        tower_units: Sequence[int] = (64,),
        activation: Activation = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        **base: Any,
    ) -> None:
        super().__init__(schema, **base)
        self.multi = embedding == "multi"
        self.embedding = make_embedding(
            embedding, self.schema, embedding_dim, batch_norm=batch_norm, sparse=self.sparse
        )
        hidden: dict[str, Any] = {"activation": activation, "dropout": dropout, "batch_norm": batch_norm}
        self.bottom = MLP(self.embedding.width, bottom_units, **hidden)
        self.towers = Towers(self.schema.tasks, self.bottom.width, tower_units, **hidden)

    @property
    def shared_modules(self) -> list[str]:
        """The bottom; none with tables per task, which give every task an output of its own."""
        return [] if self.multi else ["bottom"]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits of every task: [B], or [B, classes]."""
        if self.multi:
            return self.towers([self.bottom(x) for x in self.embedding(batch)])  # type: ignore[no-any-return]
        h = self.bottom(self.embedding(batch))
        return self.towers([h] * len(self.towers))  # type: ignore[no-any-return]  # Module calls are untyped
