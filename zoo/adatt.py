"""AdaTT: experts of all tasks fused by gates, each task's own once more (Li et al., KDD 2023)."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from mtlzoo.callbacks.gates.names import GateNames
from mtlzoo.embedding import FeatureEmbedding
from mtlzoo.layers import MLP, Activation, Gate, Towers, expert_names, mix
from mtlzoo.module import MultiTaskModule, Schema
from mtlzoo.schema import Batch


class AdaTT(MultiTaskModule):
    """Levels of experts per task; a task takes a gated mixture of all experts plus a combination of its own.

    With streams ``x_1 .. x_T``, all equal to the features' vectors at first, a level does::

        h_{t,k} = expert_{t,k}(x_t)
        x_t <- sum softmax(gate_t(x_t)) * [h_1; ..; h_T] + sum_k v_{t,k} h_{t,k}

    and ``y_t = tower_t(x_t)``. The second sum, the residual of native experts, has weights that are learned and do not
    depend on the row; a task with one expert takes it as it is. This is AdaTT-sp; every task trains the experts of all.
    `shared_experts` adds a stream of its own (the paper's general AdaTT), whose experts come last in every mixture; the
    last level has no gate for it, as nothing reads its stream.

    Source: Li et al., "AdaTT: Adaptive Task-to-Task Fusion Network for Multitask Learning in Recommendations", KDD
    2023, and the authors' code.

    Args:
        schema: Features and tasks.
        embedding_dim: Width of every feature's vector.
        levels: Number of fusion levels.
        task_experts: Experts of each task and level.
        shared_experts: Shared experts of each level; 0 is AdaTT-sp.
        expert_units: Hidden layers of each expert of every level, which ends in its activation.
        gate_units: Hidden layers of each gate; the paper's is one linear map.
        gate_bias: Whether a gate's last Linear has a bias (it has one in the authors' code).
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
        levels: int = 1,
        task_experts: int = 2,
        shared_experts: int = 0,
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
        gate: dict[str, Any] = {"units": gate_units, "bias": gate_bias, "activation": activation}
        self.embedding = FeatureEmbedding(self.schema, embedding_dim, sparse=self.sparse)
        tasks = len(self.schema.tasks)
        experts = [task_experts] * tasks + ([shared_experts] if shared_experts else [])
        width = self.embedding.width
        self.levels = nn.ModuleList()
        for level in range(levels):
            # The shared stream goes on to the next level, if there is one.
            self.levels.append(
                Fusion(width, experts, len(experts) if level < levels - 1 else tasks, expert_units, hidden, gate)
            )
            width = expert_units[-1]
        self.streams = len(experts)
        self.towers = Towers(self.schema.tasks, width, tower_units, **hidden)

    @property
    def shared_modules(self) -> list[str]:
        """The embedding."""
        return ["embedding"]

    @property
    def gate_modules(self) -> dict[str, GateNames]:
        """A gate for each stream and level, over the experts of all."""
        named: dict[str, GateNames] = {}
        for number, level in enumerate(self.levels):
            assert isinstance(level, Fusion)
            shared = len(level.experts[-1]) if self.streams > len(self.towers) else 0
            experts = list(chain(*expert_names(self.task_names, len(level.experts[0]), shared)))
            streams = [*self.task_names, "shared"][: len(level.gates)]
            for s, stream in enumerate(streams):
                named[f"levels.{number}.gates.{s}"] = GateNames(f"level_{number}", stream, experts)
        return named

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits of every task: [B], or [B, classes]."""
        streams = [self.embedding(batch)] * self.streams
        for level in self.levels:
            streams = level(streams)
        return self.towers(streams)  # type: ignore[no-any-return]  # Module calls are untyped


class Fusion(nn.Module):
    """One level of AdaTT.

    Args:
        inputs: Width of every stream.
        experts: Experts of each stream.
        outputs: Streams that go on, the first ones.
        units: Hidden layers of each expert.
        hidden: Options of the experts' `MLP`.
        gate: Options of `Gate`.

    Shape: streams [B, inputs] -> as many as go on, [B, units[-1]].
    """

    def __init__(
        self,
        inputs: int,
        experts: Sequence[int],
        outputs: int,
        units: Sequence[int],
        hidden: dict[str, Any],
        gate: dict[str, Any],
    ) -> None:
        super().__init__()
        self.experts: Any = nn.ModuleList(
            nn.ModuleList(MLP(inputs, units, **hidden) for _ in range(number)) for number in experts
        )
        self.gates = nn.ModuleList(Gate(inputs, sum(experts), **gate) for _ in range(outputs))
        # One expert is taken as it is. Several start at U(-1/sqrt(n), 1/sqrt(n)), as in the authors' code.
        self.native = nn.ParameterDict(
            {
                str(s): nn.Parameter(torch.empty(n).uniform_(-(n**-0.5), n**-0.5))
                for s, n in enumerate(experts[:outputs])
                if n > 1
            }
        )

    def forward(self, streams: list[Tensor]) -> list[Tensor]:
        """The streams of the next level."""
        own = [
            torch.stack([expert(x) for expert in experts], 1) for experts, x in zip(self.experts, streams, strict=True)
        ]
        everything = torch.cat(own, 1)
        return [mix(gate(streams[s]), everything) + self._residual(s, own[s]) for s, gate in enumerate(self.gates)]

    def _residual(self, stream: int, experts: Tensor) -> Tensor:
        """What a stream takes of its own experts: [B, E, H] -> [B, H]."""
        if experts.shape[1] == 1:
            return experts.squeeze(1)
        return torch.einsum("e,beh->bh", self.native[str(stream)], experts)
