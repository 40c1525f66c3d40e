"""PEPNet: embeddings and hidden units scaled by gates that know user, item and scenario (Chang et al., KDD 2023)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtlzoo.embedding import FeatureEmbedding
from mtlzoo.layers import MLP, Activation
from mtlzoo.module import MultiTaskModule, Schema
from mtlzoo.schema import Batch, Feature


class PEPNet(MultiTaskModule):
    """A network per task on shared embeddings; gates in (0, 2) scale the embeddings and every layer of every task.

    With x the features' vectors, ``x_D`` those of the scenario, ``x_P`` those of user, item and author, and ``sg`` for
    stop-gradient::

        o = gate_E([x_D; sg(x)]) * x                               EPNet
        h_{t,0} = o;  h_{t,l} = gate_{t,l}([x_P; sg(o)]) * layer_{t,l}(h_{t,l-1})     PPNet
        y_t = last_t(h_{t,L})

    with ``gate(z) = 2 sigmoid(W' relu(W z + b) + b')``. The gates of a layer have their first map in common.

    Source: Chang et al., "PEPNet: Parameter and Embedding Personalized Network for Infusing with Personalized Prior
    Information", KDD 2023.

    Args:
        schema: Features and tasks.
        embedding_dim: Width of every feature's vector.
        domain: Names of the features of the scenario; with none there is no EPNet, and ``o = x``.
        prior: Names of the features that PPNet's gates know; by default the schema's user and item. The paper's are
            user, item and author.
        tower_units: Hidden layers of each task's network.
        gate_units: Width of a gate's hidden layer.
        activation: Of the hidden layers of the tasks' networks.
        dropout: After every one of them.
        batch_norm: Before every activation.
        **base: Options of `MultiTaskModule`.

    Raises:
        ValueError: No prior, or names that are not features.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        domain: Sequence[str] = (),
        prior: Sequence[str] | None = None,
        tower_units: Sequence[int] = (256, 128, 64),
        gate_units: int = 128,
        activation: Activation = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        **base: Any,
    ) -> None:
        super().__init__(schema, **base)
        hidden: dict[str, Any] = {"activation": activation, "dropout": dropout, "batch_norm": batch_norm}
        self.embedding = FeatureEmbedding(self.schema, embedding_dim, sparse=self.sparse)
        # The order of the embedding's columns.
        features: list[Feature] = [*self.schema.categorical, *self.schema.sequences, *self.schema.numeric]
        places = {feature.name: place for place, feature in enumerate(features)}
        if prior is None:
            prior = [name for name in (self.schema.user, self.schema.item) if name is not None]
        unknown = [name for name in (*domain, *prior) if name not in places]
        if unknown or not prior:
            raise ValueError(
                f"PEPNet: prior={list(prior)}, domain={list(domain)}; allowed are features of the data, with at least "
                f"one as prior (prior=[...] where the data name no user and item): {sorted(places)}."
            )
        self.domain = [places[name] for name in domain]
        self.prior = [places[name] for name in prior]
        width = self.embedding.width
        self.embedding_gate = (
            GateUnits(len(domain) * embedding_dim + width, gate_units, width, 1) if self.domain else None
        )
        tasks = self.schema.tasks
        widths = [width, *tower_units]
        known = len(prior) * embedding_dim + width
        self.gates = nn.ModuleList(GateUnits(known, gate_units, units, len(tasks)) for units in tower_units)
        self.layers: Any = nn.ModuleList(
            nn.ModuleList(MLP(inputs, [units], **hidden) for _ in tasks)
            for inputs, units in zip(widths[:-1], tower_units, strict=True)
        )
        self.last = nn.ModuleList(MLP(widths[-1], (), task.outputs) for task in tasks)

    @property
    def shared_modules(self) -> list[str]:
        """The embedding."""
        return ["embedding"]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits of every task: [B], or [B, classes]."""
        x = self.embedding(batch)
        o = x
        if self.embedding_gate is not None:
            (scale,) = self.embedding_gate(torch.cat([self._vectors(x, self.domain), x.detach()], 1))
            o = scale * x
        known = torch.cat([self._vectors(x, self.prior), o.detach()], 1)
        streams = [o] * len(self.last)
        for gate, layers in zip(self.gates, self.layers, strict=True):
            streams = [scale * layer(h) for scale, layer, h in zip(gate(known), layers, streams, strict=True)]
        logits = (last(h).squeeze(-1) for last, h in zip(self.last, streams, strict=True))
        return dict(zip(self.task_names, logits, strict=True))

    def _vectors(self, x: Tensor, places: Sequence[int]) -> Tensor:
        dim = self.embedding.dim
        return torch.cat([x[:, place * dim : (place + 1) * dim] for place in places], 1)


class GateUnits(nn.Module):
    """Gate NU of the paper: ``2 sigmoid(W' relu(W z + b) + b')``, for one or several receivers of the same z.

    Each receiver has a W' of its own, not rows of a common one, so that no task trains what only another reads.

    Args:
        inputs: Width of z.
        hidden: Width of the hidden layer, which the receivers share.
        outputs: Numbers scaled, per receiver.
        receivers: How many there are.

    Shape: [B, inputs] -> one [B, outputs] per receiver, in (0, 2).
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, receivers: int) -> None:
        super().__init__()
        self.cross = MLP(inputs, [hidden])
        self.scales = nn.ModuleList(MLP(hidden, (), outputs) for _ in range(receivers))

    def forward(self, z: Tensor) -> list[Tensor]:
        """The factors of every receiver."""
        h = self.cross(z)
        return [2 * scale(h).sigmoid() for scale in self.scales]
