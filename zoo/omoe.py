"""OMoE: one-gate mixture of experts, the baseline of the MMoE paper (Ma et al., KDD 2018)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtlzoo.callbacks.gates.names import GateNames
from mtlzoo.layers import MLP, Activation, Gate, Towers, mix
from mtlzoo.module import MultiTaskModule, Schema
from mtlzoo.schema import Batch
from mtlzoo.task_embeddings import EmbeddingKind, make_embedding


class OMoE(MultiTaskModule):
    """``h = sum_k softmax(gate(x))_k expert_k(x)``; ``y_t = tower_t(h)``.

    Source: Ma et al., "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts",
    KDD 2018.

    Args:
        schema: Features and tasks.
        embedding_dim: Width of every feature's vector.
        embedding: ``shared``: one set of tables. ``multi``: a set per task; experts and gate are still the same for
            all, and read every task's vectors in turn, ``h_t = sum_k softmax(gate(x_t))_k expert_k(x_t)``.
        experts: Number of experts (8 in the paper and the STEM repository).
        expert_units: Hidden layers of each expert, which ends in its activation.
        gate_units: Hidden layers of the gate; the paper's is one linear map.
        gate_bias: Whether the gate's last Linear has a bias; the paper's has none.
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
        self.gate = Gate(width, experts, gate_units, bias=gate_bias, activation=activation)
        self.towers = Towers(self.schema.tasks, expert_units[-1], tower_units, **hidden)

    @property
    def shared_modules(self) -> list[str]:
        """The experts; none with tables per task, which give every task outputs of its own."""
        return [] if self.multi else [f"experts.{k}" for k in range(len(self.experts))]

    @property
    def gate_modules(self) -> dict[str, GateNames]:
        """The gate of all tasks."""
        return {"gate": GateNames("experts", "all", [str(k) for k in range(len(self.experts))])}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits of every task: [B], or [B, classes]."""
        x = self.embedding(batch)
        streams = [self._mixed(one) for one in x] if self.multi else [self._mixed(x)] * len(self.towers)
        return self.towers(streams)  # type: ignore[no-any-return]  # Module calls are untyped

    def _mixed(self, x: Tensor) -> Tensor:
        return mix(self.gate(x), torch.stack([expert(x) for expert in self.experts], 1))
