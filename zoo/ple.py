"""PLE: progressive layered extraction (Tang et al., RecSys 2020); with one level it is CGC."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from mtlzoo.callbacks.gates.names import GateNames
from mtlzoo.layers import MLP, Activation, Gate, Towers, expert_names, mix
from mtlzoo.module import MultiTaskModule, Schema
from mtlzoo.schema import Batch
from mtlzoo.task_embeddings import EmbeddingKind, make_embedding

SharedGate: TypeAlias = Literal["all", "shared_experts"]


class PLE(MultiTaskModule):
    """Levels of task experts and shared experts, mixed by a gate per stream; a tower per task on the last level.

    With streams ``x_1 .. x_T`` and a shared ``x_S``, all equal to the features' vectors at first, a level does::

        h_{t,k} = expert_{t,k}(x_t)          h_{S,k} = expert_{S,k}(x_S)
        x_t <- sum softmax(gate_t(x_t)) * [h_t; h_S]                 own experts first, then shared
        x_S <- sum softmax(gate_S(x_S)) * [h_1; ..; h_T; h_S]        all experts (the paper)

    The last level has no shared gate, as nothing reads its stream.

    Source: Tang et al., "Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) Model for Personalized
    Recommendations", RecSys 2020, section 4.2. FuxiCTR and the STEM repository let the shared gate see the shared
    experts alone; ``shared_gate="shared_experts"`` is their model. With one level the two are the same.

    Args:
        schema: Features and tasks.
        embedding_dim: Width of every feature's vector.
        embedding: ``shared``: one set of tables, from which all streams start. ``multi``: a set per task, from which
            its stream starts, and one for the shared stream (the tables of STEM-Net, with PLE's gates).
        levels: Number of extraction levels.
        task_experts: Experts of each task and level (1 in the STEM repository).
        shared_experts: Shared experts of each level (8 in the STEM repository).
        expert_units: Hidden layers of each expert of every level, which ends in its activation.
        shared_gate: What the shared gate of a level mixes.
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
        levels: int = 1,
        task_experts: int = 2,
        shared_experts: int = 4,
        expert_units: Sequence[int] = (256, 128),
        shared_gate: SharedGate = "all",
        gate_units: Sequence[int] = (),
        gate_bias: bool = False,
        tower_units: Sequence[int] = (64,),
        activation: Activation = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        **base: Any,
    ) -> None:
        super().__init__(schema, **base)
        if shared_gate not in ("all", "shared_experts"):
            raise ValueError(f"PLE: shared_gate={shared_gate!r}; allowed are 'all' (the paper) and 'shared_experts'.")
        hidden: dict[str, Any] = {"activation": activation, "dropout": dropout, "batch_norm": batch_norm}
        gate: dict[str, Any] = {"units": gate_units, "bias": gate_bias, "activation": activation}
        self.multi = embedding == "multi"
        self.embedding = make_embedding(embedding, self.schema, embedding_dim, shared=True, sparse=self.sparse)
        tasks = len(self.schema.tasks)
        width = self.embedding.width
        self.levels = nn.ModuleList()
        self.shared_experts = shared_experts
        for level in range(levels):
            shared = shared_gate if level < levels - 1 else None
            self.levels.append(
                Extraction(width, tasks, task_experts, shared_experts, expert_units, shared, hidden, gate)
            )
            width = expert_units[-1]
        self.towers = Towers(self.schema.tasks, width, tower_units, **hidden)

    @property
    def shared_modules(self) -> list[str]:
        """The shared experts of the last level."""
        return [f"levels.{len(self.levels) - 1}.shared_experts.{k}" for k in range(self.shared_experts)]

    @property
    def gate_modules(self) -> dict[str, GateNames]:
        """A gate for each task and level, and the shared ones."""
        named: dict[str, GateNames] = {}
        for number, level in enumerate(self.levels):
            assert isinstance(level, Extraction)
            layer, place = f"level_{number}", f"levels.{number}"
            *own, shared = expert_names(self.task_names, len(level.task_experts[0]), self.shared_experts)
            for t, task in enumerate(self.task_names):
                named[f"{place}.gates.{t}"] = GateNames(layer, task, own[t] + shared)
            if level.shared_gate is not None:
                mixed = chain(*own, shared) if level.mixes_all else shared
                named[f"{place}.shared_gate"] = GateNames(layer, "shared", list(mixed))
        return named

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits of every task: [B], or [B, classes]."""
        x = self.embedding(batch)
        *streams, shared = x if self.multi else [x] * (len(self.towers) + 1)
        for level in self.levels:
            streams, shared = level(streams, shared)
        return self.towers(streams)  # type: ignore[no-any-return]  # Module calls are untyped


class Extraction(nn.Module):
    """One level of PLE.

    Args:
        inputs: Width of every stream.
        tasks: Number of tasks.
        task_experts: Experts per task.
        shared_experts: Shared experts.
        units: Hidden layers of each expert.
        shared_gate: What the shared gate mixes; None has none, for a last level.
        hidden: Options of the experts' `MLP`.
        gate: Options of `Gate`.

    Shape: T streams [B, inputs] and the shared one -> T streams [B, units[-1]] and the shared one (the input's if
    there is no shared gate).
    """

    def __init__(
        self,
        inputs: int,
        tasks: int,
        task_experts: int,
        shared_experts: int,
        units: Sequence[int],
        shared_gate: SharedGate | None,
        hidden: dict[str, Any],
        gate: dict[str, Any],
    ) -> None:
        super().__init__()
        self.task_experts: Any = nn.ModuleList(
            nn.ModuleList(MLP(inputs, units, **hidden) for _ in range(task_experts)) for _ in range(tasks)
        )
        self.shared_experts = nn.ModuleList(MLP(inputs, units, **hidden) for _ in range(shared_experts))
        self.gates = nn.ModuleList(Gate(inputs, task_experts + shared_experts, **gate) for _ in range(tasks))
        self.mixes_all = shared_gate == "all"
        mixed = shared_experts + tasks * task_experts * self.mixes_all
        self.shared_gate = Gate(inputs, mixed, **gate) if shared_gate else None

    def forward(self, streams: list[Tensor], shared: Tensor) -> tuple[list[Tensor], Tensor]:
        """The streams of the next level."""
        own = [[expert(x) for expert in experts] for experts, x in zip(self.task_experts, streams, strict=True)]
        common = [expert(shared) for expert in self.shared_experts]
        mixed = [
            mix(gate(x), torch.stack([*h, *common], 1)) for gate, x, h in zip(self.gates, streams, own, strict=True)
        ]
        if self.shared_gate is None:
            return mixed, shared
        everything = [h for hs in own for h in hs] if self.mixes_all else []
        return mixed, mix(self.shared_gate(shared), torch.stack([*everything, *common], 1))
