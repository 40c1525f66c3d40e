"""MMoE: multi-gate mixture of experts (Ma et al., KDD 2018)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtlzoo.callbacks.gates.names import GateNames
from mtlzoo.layers import MLP, Activation, Gate, Towers, mix
from mtlzoo.module import MultiTaskModule, Schema
from mtlzoo.schema import Batch
from mtlzoo.task_embeddings import EmbeddingKind, make_embedding


class MMoE(MultiTaskModule):
    """``h_t = sum_k softmax(gate_t(x))_k expert_k(x)``; ``y_t = tower_t(h_t)``.

    Source: Ma et al., "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts",
    KDD 2018.
    The STEM repository's sizes are 8 experts of 512-512-512, gates and towers of 128-64 with biases.

    Args:
        schema: Features and tasks.
        embedding_dim: Width of every feature's vector.
        embedding: ``shared``: one set of tables. ``multi``: a set per task; the experts are still the same for all, and
            read every task's vectors in turn, ``h_t = sum_k softmax(gate_t(x_t))_k expert_k(x_t)``.
        experts: Number of experts (8 in the paper and the STEM repository).
        expert_units: Hidden layers of each expert, which ends in its activation.
        gate_units: Hidden layers of each gate; the paper's is one linear map.
        gate_bias: Whether a gate's last Linear has a bias; the paper's has none.
        tower_units: Hidden layers of each tower.
        activation: Of all hidden layers.
        dropout: After every hidden layer of experts and towers.
        batch_norm: Before every activation of experts and towers.
        **base: Options of `MultiTaskModule`.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        embedding: EmbeddingKind = "shared",
        experts: int = 8,
        expert_units: Sequence[int] = (256, 128),
        gate_units: Sequence[int] = (),
        gate_bias: bool = False,
        tower_units: Sequence[int] = (64,),
        activation: Activation = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        **base: Any,
    ) -> None:
        super().__init__(schema, **base)
        hidden: dict[str, Any] = {"activation": activation, "dropout": dropout, "batch_norm": batch_norm}
        self.multi = embedding == "multi"
        self.embedding = make_embedding(
            embedding, self.schema, embedding_dim, batch_norm=batch_norm, sparse=self.sparse
        )
        width = self.embedding.width
        self.experts = nn.ModuleList(MLP(width, expert_units, **hidden) for _ in range(experts))
        self.gates = nn.ModuleList(
            Gate(width, experts, gate_units, bias=gate_bias, activation=activation) for _ in self.schema.tasks
        )
        self.towers = Towers(self.schema.tasks, expert_units[-1], tower_units, **hidden)

    @property
    def shared_modules(self) -> list[str]:
        """The experts; none with tables per task, which give every task outputs of its own."""
        return [] if self.multi else [f"experts.{k}" for k in range(len(self.experts))]

    @property
    def gate_modules(self) -> dict[str, GateNames]:
        """A gate for each task."""
        experts = [str(k) for k in range(len(self.experts))]
        return {f"gates.{t}": GateNames("experts", task, experts) for t, task in enumerate(self.task_names)}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits of every task: [B], or [B, classes]."""
        x = self.embedding(batch)
        if self.multi:
            pairs = zip(self.gates, x, strict=True)
            return self.towers([mix(gate(one), self._experts(one)) for gate, one in pairs])  # type: ignore[no-any-return]
        experts = self._experts(x)
        return self.towers([mix(gate(x), experts) for gate in self.gates])  # type: ignore[no-any-return]

    def _experts(self, x: Tensor) -> Tensor:
        return torch.stack([expert(x) for expert in self.experts], 1)
