"""Soft parameter sharing: a network per task, held near each other by an L2 distance (Duong et al., ACL 2015)."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mtlzoo.embedding import FeatureEmbedding
from mtlzoo.layers import MLP, Activation, Towers
from mtlzoo.module import MultiTaskModule, Schema
from mtlzoo.precision import single
from mtlzoo.schema import Batch


class SoftSharing(MultiTaskModule):
    """``y_t = tower_t(bottom_t(x))``, with ``distance / 2 * sum_{s<t} |bottom_s - bottom_t|^2`` added to the loss.

    The squared distance is that of all weights and biases of the bottoms. Its gradient for ``bottom_t``,
    ``distance * sum_s (bottom_t - bottom_s)``, comes with task t's own loss, where the other bottoms are constants. So
    each bottom is reached by its task alone, also for gradient surgery, and the sum of the losses moves the bottoms as
    the penalty would. (The losses that are logged count every pair twice.) All bottoms start from the same weights:
    drawn apart, they would first of all have to forget that.

    Source: Duong et al., "Low Resource Dependency Parsing: Cross-lingual Parameter Sharing in a Neural Network Parser",
    ACL 2015, for two parsers; the name is that of Ruder's overview, arXiv 1706.05098.

    Args:
        schema: Features and tasks.
        embedding_dim: Width of every feature's vector; the tables are shared.
        bottom_units: Hidden layers of each task's bottom, which ends in its activation.
        distance: Weight of the squared distances. At 0 the bottoms are independent; the larger, the nearer they are to
            one shared bottom.
        tower_units: Hidden layers of each tower.
        activation: Of all hidden layers.
        dropout: After every hidden layer.
        batch_norm: Before every activation.
        **base: Options of `MultiTaskModule`.

    Raises:
        ValueError: `distance` below 0, or no layer in `bottom_units`.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        bottom_units: Sequence[int] = (256, 128),
        distance: float = 1e-3,
        tower_units: Sequence[int] = (64,),
        activation: Activation = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        **base: Any,
    ) -> None:
        super().__init__(schema, **base)
        if not bottom_units:
            raise ValueError(f"SoftSharing: bottom_units={bottom_units!r}; allowed is one layer or more.")
        if not distance >= 0:
            raise ValueError(f"SoftSharing: distance={distance}; allowed are numbers >= 0.")
        self.distance = distance
        hidden: dict[str, Any] = {"activation": activation, "dropout": dropout, "batch_norm": batch_norm}
        self.embedding = FeatureEmbedding(self.schema, embedding_dim, sparse=self.sparse)
        tasks = self.schema.tasks
        bottom = MLP(self.embedding.width, bottom_units, **hidden)
        self.bottoms = nn.ModuleList(copy.deepcopy(bottom) for _ in tasks)
        self.towers = Towers(tasks, bottom_units[-1], tower_units, **hidden)

    @property
    def shared_modules(self) -> list[str]:
        """The embedding."""
        return ["embedding"]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits of every task: [B], or [B, classes]."""
        x = self.embedding(batch)
        return self.towers([bottom(x) for bottom in self.bottoms])  # type: ignore[no-any-return]

    def losses(self, logits: Mapping[str, Tensor], batch: Batch, counts: Tensor) -> list[Tensor]:
        """Weighted loss of every task, its share of the distance included: once a step, with the last micro-batch."""
        losses = super().losses(logits, batch, counts)
        if self.distance and not self.accumulating:
            losses = [loss + self._apart(t) for t, loss in enumerate(losses)]
        return losses

    def _apart(self, task: int) -> Tensor:
        """Half the weighted squared distance of a task's bottom from all others, which stay where they are."""
        weights = [list(bottom.parameters()) for bottom in self.bottoms]
        others = [other for t, other in enumerate(weights) if t != task]
        squares = [
            single(mine - theirs.detach()).square().sum()
            for other in others
            for mine, theirs in zip(weights[task], other, strict=True)
        ]
        return self.distance / 2 * sum(squares, self.task_weights.new_zeros(()))
