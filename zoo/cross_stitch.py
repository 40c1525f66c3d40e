"""Cross-Stitch: a network per task, whose layers mix those of the others (Misra et al., CVPR 2016)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mtlzoo.embedding import FeatureEmbedding
from mtlzoo.layers import MLP, Activation, Towers
from mtlzoo.module import MultiTaskModule, Schema
from mtlzoo.schema import Batch


class CrossStitch(MultiTaskModule):
    """A bottom per task on shared embeddings; after each layer every task takes a mixture of all tasks' outputs.

    With ``h_t = layer_{l,t}(x_t)``, all ``x_t`` the features' vectors at first, a layer ends in
    ``x_t <- sum_s A_l[t, s] h_s``, and ``y_t = tower_t(x_t)``. A_l, a matrix [T, T], is learned without constraints.

    Source: Misra et al., "Cross-stitch Networks for Multi-task Learning", CVPR 2016. The paper stitches convolutional
    networks of two tasks; between layers of a perceptron, for any T, with one matrix per layer, as in the repository of
    AdaTT (KDD 2023).

    Args:
        schema: Features and tasks.
        embedding_dim: Width of every feature's vector.
        bottom_units: Hidden layers of each task's bottom, each followed by a stitch.
        own: What a task takes of its own output at first; the other tasks share what is left to 1. The paper starts
            between 0.5 and 0.9 with two tasks, where 0.9 leaves 0.1.
        tower_units: Hidden layers of each tower.
        activation: Of all hidden layers.
        dropout: After every hidden layer.
        batch_norm: Before every activation.
        **base: Options of `MultiTaskModule`.

    Raises:
        ValueError: `own` outside [0, 1].
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        bottom_units: Sequence[int] = (256, 128),
        own: float = 0.9,
        tower_units: Sequence[int] = (64,),
        activation: Activation = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        **base: Any,
    ) -> None:
        super().__init__(schema, **base)
        if not 0 <= own <= 1:
            raise ValueError(f"CrossStitch: own={own}; allowed are numbers in [0, 1].")
        hidden: dict[str, Any] = {"activation": activation, "dropout": dropout, "batch_norm": batch_norm}
        tasks = len(self.schema.tasks)
        self.embedding = FeatureEmbedding(self.schema, embedding_dim, sparse=self.sparse)
        widths = [self.embedding.width, *bottom_units]
        self.bottoms: Any = nn.ModuleList(
            nn.ModuleList(MLP(inputs, [width], **hidden) for _ in range(tasks)) for inputs, width in pairwise(widths)
        )
        start = torch.full((tasks, tasks), (1 - own) / (tasks - 1)) if tasks > 1 else torch.ones(1, 1)
        start.fill_diagonal_(own if tasks > 1 else 1.0)
        self.stitches = nn.ParameterList(nn.Parameter(start.clone()) for _ in bottom_units)
        self.towers = Towers(self.schema.tasks, widths[-1], tower_units, **hidden)

    @property
    def shared_modules(self) -> list[str]:
        """The embedding."""
        return ["embedding"]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits of every task: [B], or [B, classes]."""
        x = self.embedding(batch)
        streams = [x] * len(self.towers)
        for layers, stitch in zip(self.bottoms, self.stitches, strict=True):
            outputs = torch.stack([layer(x) for layer, x in zip(layers, streams, strict=True)], 1)
            streams = list(torch.einsum("ts,bsh->tbh", stitch, outputs))
        return self.towers(streams)  # type: ignore[no-any-return]  # Module calls are untyped
