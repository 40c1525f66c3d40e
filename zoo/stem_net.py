"""STEM-Net: shared and task-specific embeddings (Su et al., AAAI 2024)."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from mtlzoo.callbacks.gates.names import GateNames
from mtlzoo.layers import MLP, Activation, Gate, Towers, expert_names, mix
from mtlzoo.module import MultiTaskModule, Schema
from mtlzoo.schema import Batch
from mtlzoo.task_embeddings import TaskEmbeddings

GateInput: TypeAlias = Literal["task+shared", "task"]
SharedStream: TypeAlias = Literal["leaky", "stopped"]


class STEMNet(MultiTaskModule):
    """Embeddings of each task and shared ones; every task reads all experts, and trains its own and the shared ones.

    ``x_t`` is the features' vectors from task t's own tables, ``x_S`` those from the shared tables. A layer does::

        h_{t,k} = expert_{t,k}(x_t)          h_{S,k} = expert_{S,k}(x_S)
        x_t <- sum softmax(gate_t(x_t + x_S)) * [sg(h_1); ..; h_t; ..; sg(h_T); h_S]
        x_S <- sum softmax(gate_S(x_S)) * [h_1; ..; h_T; h_S]

    with ``sg`` for stop-gradient: All Forward, Task-specific Backward. ``y_t = tower_t(x_t)``. The last layer has no
    shared gate, as nothing reads its stream.

    With one layer (as in all published configurations) task t's loss trains its own tables, experts, gate and tower,
    and the shared tables and experts. With more, the shared stream of a layer that is not the last carries the experts
    of all tasks onwards; in the authors' code without a stop-gradient, so that every task then trains every other's
    tables. ``shared_stream="stopped"`` stops it there too, and keeps the principle at any depth.

    Source: Su et al., "STEM: Unleashing the Power of Embeddings for Multi-Task Recommendation", AAAI 2024, and the
    authors' code, whose sizes are 1 layer, 1 expert per task and 8 shared ones of 512-512-512, gates and towers 128-64.

    Args:
        schema: Features and tasks.
        embedding_dim: Width of every feature's vector, in the tables of each task and in the shared ones.
        layers: Number of layers.
        task_experts: Experts of each task and layer (1 in the authors' configuration).
        shared_experts: Shared experts of each layer (8 in the authors' configuration).
        expert_units: Hidden layers of each expert of every layer, which ends in its activation.
        gate_input: What a task's gate reads: the sum of its stream and the shared one, as the authors' code does (the
            default), or its stream alone, as the figure in their repository draws it.
        shared_stream: Whether the shared stream between layers leaks gradients into the tasks' experts, as in the
            authors' code (the default), or not. No difference with one layer.
        gate_units: Hidden layers of each gate ([128, 64] in the authors' code); a linear map by default, as in the
            zoo's other models.
        gate_bias: Whether a gate's last Linear has a bias (it has one in the authors' code).
        tower_units: Hidden layers of each tower.
        activation: Of all hidden layers.
        dropout: After every hidden layer of experts and towers.
        batch_norm: Before every activation of experts and towers.
        **base: Options of `MultiTaskModule`.

    Raises:
        ValueError: An unknown `gate_input` or `shared_stream`, with the allowed ones.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        layers: int = 1,
        task_experts: int = 1,
        shared_experts: int = 8,
        expert_units: Sequence[int] = (256, 128),
        gate_input: GateInput = "task+shared",
        shared_stream: SharedStream = "leaky",
        gate_units: Sequence[int] = (),
        gate_bias: bool = False,
        tower_units: Sequence[int] = (64,),
        activation: Activation = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        **base: Any,
    ) -> None:
        super().__init__(schema, **base)
        if shared_experts < 1:
            raise ValueError(f"STEMNet: shared_experts={shared_experts}; allowed are whole numbers >= 1.")
        if gate_input not in ("task+shared", "task") or shared_stream not in ("leaky", "stopped"):
            raise ValueError(
                f"STEMNet: gate_input={gate_input!r}, shared_stream={shared_stream!r}; allowed are 'task+shared' (the "
                "authors' code) and 'task', and 'leaky' (the authors' code) and 'stopped'."
            )
        hidden: dict[str, Any] = {"activation": activation, "dropout": dropout, "batch_norm": batch_norm}
        gate: dict[str, Any] = {"units": gate_units, "bias": gate_bias, "activation": activation}
        self.embedding = TaskEmbeddings(self.schema, embedding_dim, shared=True, sparse=self.sparse)
        tasks = len(self.schema.tasks)
        width = self.embedding.width
        self.shared_experts = shared_experts
        self.layers = nn.ModuleList()
        for layer in range(layers):
            stream = shared_stream if layer < layers - 1 else None
            self.layers.append(
                STEMLayer(width, tasks, task_experts, shared_experts, expert_units, gate_input, stream, hidden, gate)
            )
            width = expert_units[-1]
        self.towers = Towers(self.schema.tasks, width, tower_units, **hidden)

    @property
    def shared_modules(self) -> list[str]:
        """The shared experts of the last layer."""
        return [f"layers.{len(self.layers) - 1}.shared_experts.{k}" for k in range(self.shared_experts)]

    @property
    def gate_modules(self) -> dict[str, GateNames]:
        """A gate for each task and layer, and the shared ones."""
        named: dict[str, GateNames] = {}
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, STEMLayer)
            experts = list(chain(*expert_names(self.task_names, len(layer.task_experts[0]), self.shared_experts)))
            gates = {f"gates.{t}": task for t, task in enumerate(self.task_names)}
            gates |= {"shared_gate": "shared"} if layer.shared_gate is not None else {}
            for place, task in gates.items():
                named[f"layers.{number}.{place}"] = GateNames(f"layer_{number}", task, experts)
        return named

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits of every task: [B], or [B, classes]."""
        *streams, shared = self.embedding(batch)
        for layer in self.layers:
            streams, shared = layer(streams, shared)
        return self.towers(streams)  # type: ignore[no-any-return]  # Module calls are untyped


class STEMLayer(nn.Module):
    """One layer of STEM-Net.

    Args:
        inputs: Width of every stream.
        tasks: Number of tasks.
        task_experts: Experts per task.
        shared_experts: Shared experts.
        units: Hidden layers of each expert.
        gate_input: What the tasks' gates read.
        shared_stream: How the next shared stream is made; None makes none, for a last layer.
        hidden: Options of the experts' `MLP`.
        gate: Options of `Gate`.

    Shape: T streams [B, inputs] and the shared one -> T streams [B, units[-1]] and the shared one (the input's if none
    is made).
    """

    def __init__(
        self,
        inputs: int,
        tasks: int,
        task_experts: int,
        shared_experts: int,
        units: Sequence[int],
        gate_input: GateInput,
        shared_stream: SharedStream | None,
        hidden: dict[str, Any],
        gate: dict[str, Any],
    ) -> None:
        super().__init__()
        self.task_experts: Any = nn.ModuleList(
            nn.ModuleList(MLP(inputs, units, **hidden) for _ in range(task_experts)) for _ in range(tasks)
        )
        self.shared_experts = nn.ModuleList(MLP(inputs, units, **hidden) for _ in range(shared_experts))
        mixed = tasks * task_experts + shared_experts
        self.gates = nn.ModuleList(Gate(inputs, mixed, **gate) for _ in range(tasks))
        self.gates_read_shared = gate_input == "task+shared"
        self.stops = shared_stream == "stopped"
        self.shared_gate = Gate(inputs, mixed, **gate) if shared_stream else None

    def forward(self, streams: list[Tensor], shared: Tensor) -> tuple[list[Tensor], Tensor]:
        """The streams of the next layer."""
        own = [
            torch.stack([expert(x) for expert in experts], 1)
            for experts, x in zip(self.task_experts, streams, strict=True)
        ]
        common = torch.stack([expert(shared) for expert in self.shared_experts], 1)
        # Detached by task, not in one stack: a task must have no path at all to the experts of another.
        foreign = [h.detach() for h in own]
        mixed = []
        for t, (gate, x) in enumerate(zip(self.gates, streams, strict=True)):
            weights = gate(x + shared if self.gates_read_shared else x)
            mixed.append(mix(weights, torch.cat([*foreign[:t], own[t], *foreign[t + 1 :], common], 1)))
        if self.shared_gate is None:
            return mixed, shared
        everything = torch.cat([*(foreign if self.stops else own), common], 1)
        return mixed, mix(self.shared_gate(shared), everything)
