"""Shared-Bottom: one network for all tasks, a tower for each (Caruana, Machine Learning 1997)."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mtlzoo.embedding import FeatureEmbedding
from mtlzoo.layers import MLP, Activation, Towers
from mtlzoo.module import MultiTaskModule, Schema
from mtlzoo.schema import Batch


class SharedBottom(MultiTaskModule):
    """``y_t = tower_t(bottom(x))``, x the features' vectors side by side.

    Source: Caruana, "Multitask Learning", Machine Learning 28 (1997). The bottom ends in its activation, the towers in
    a Linear, as in the STEM repository, whose sizes are bottom 512-512-512, towers 128-128.

    Args:
        schema: Features and tasks.
        embedding_dim: Width of every feature's vector (16 in the STEM repository).
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
        bottom_units: Sequence[int] = (256, 128),
        tower_units: Sequence[int] = (64,),
        activation: Activation = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        **base: Any,
    ) -> None:
        super().__init__(schema, **base)
        self.embedding = FeatureEmbedding(self.schema, embedding_dim, sparse=self.sparse)
        hidden: dict[str, Any] = {"activation": activation, "dropout": dropout, "batch_norm": batch_norm}
        self.bottom = MLP(self.embedding.width, bottom_units, **hidden)
        self.towers = Towers(self.schema.tasks, self.bottom.width, tower_units, **hidden)

    @property
    def shared_modules(self) -> list[str]:
        """The bottom."""
        return ["bottom"]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits of every task: [B], or [B, classes]."""
        h = self.bottom(self.embedding(batch))
        return self.towers([h] * len(self.towers))  # type: ignore[no-any-return]  # Module calls are untyped
