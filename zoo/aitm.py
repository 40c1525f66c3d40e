"""AITM: what one step of a conversion learned is handed to the next (Xi et al., KDD 2021)."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mtlzoo.callbacks.gates.names import GateNames
from mtlzoo.embedding import FeatureEmbedding
from mtlzoo.layers import MLP, Activation, Towers, mix
from mtlzoo.module import MultiTaskModule, Schema
from mtlzoo.schema import Batch


class AITM(MultiTaskModule):
    """A network per task on shared embeddings; each task attends to what the task before it hands over, and its own.

    The tasks are the steps of a process in the schema's order, such as click, application, approval. ``h_1 =
    bottom_1(x)``, then for each further task, with u the two rows ``carry_t(h_{t-1})`` and ``bottom_t(x)``::

        h_t = sum softmax(<key(u), query(u)> / sqrt(width)) * value(u)          y_t = tower_t(h_t)

    ``carry_t``, ``value``, ``key`` and ``query`` are linear maps; the last three serve all transfers.

    With `calibrator` alpha the loss of every task but the first also has ``alpha * max(0, p_t - p_{t-1})``, the mean
    over the rows that observe the task: a later step can't be likelier than an earlier one (the paper's behavioural
    expectation calibrator). It pulls on both predictions, so gradient surgery then finds that neighbours share towers.

    Source: Xi et al., "Modeling the Sequential Dependence among Audience Multi-step Conversions with Multi-task
    Learning in Targeted Display Advertising", KDD 2021. The STEM repository has the network without the calibrator.

    Args:
        schema: Features and tasks, the tasks in the order of the process.
        embedding_dim: Width of every feature's vector.
        bottom_units: Hidden layers of each task's network, which ends in its activation.
        tower_units: Hidden layers of each tower.
        calibrator: Weight of the calibrator. 0, the default, is none, as in the STEM repository; the authors' code has
            0.3. Binary tasks only.
        activation: Of all hidden layers.
        dropout: After every hidden layer.
        batch_norm: Before every activation.
        **base: Options of `MultiTaskModule`.

    Raises:
        ValueError: No layer in `bottom_units`, a negative `calibrator`, or one for tasks that have no probability.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        bottom_units: Sequence[int] = (256, 128),
        tower_units: Sequence[int] = (64,),
        calibrator: float = 0.0,
        activation: Activation = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        **base: Any,
    ) -> None:
        super().__init__(schema, **base)
        if not bottom_units:
            raise ValueError(f"AITM: bottom_units={bottom_units!r}; allowed is one layer or more.")
        tasks = self.schema.tasks
        others = {task.name: task.kind for task in tasks if task.kind != "binary"}
        if not calibrator >= 0 or (calibrator and others):
            raise ValueError(
                f"AITM: calibrator={calibrator} with the tasks {others or self.task_names}; allowed are numbers >= 0, "
                "and above 0 for binary tasks only. Choose the tasks in the data, or leave the calibrator at 0."
            )
        self.calibrator = calibrator
        hidden: dict[str, Any] = {"activation": activation, "dropout": dropout, "batch_norm": batch_norm}
        self.embedding = FeatureEmbedding(self.schema, embedding_dim, sparse=self.sparse)
        self.bottoms = nn.ModuleList(MLP(self.embedding.width, bottom_units, **hidden) for _ in tasks)
        width = bottom_units[-1]
        self.transfer = Transfer(width, len(tasks) - 1) if len(tasks) > 1 else None
        self.towers = Towers(tasks, width, tower_units, **hidden)

    @property
    def shared_modules(self) -> list[str]:
        """The embedding."""
        return ["embedding"]

    @property
    def gate_modules(self) -> dict[str, GateNames]:
        """The attention of each task but the first, over what it is handed and its own."""
        steps = enumerate(pairwise(self.task_names))
        return {f"transfer.attention.{t}": GateNames("transfer", own, [before, own]) for t, (before, own) in steps}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits of every task: [B], or [B, classes]."""
        x = self.embedding(batch)
        streams = [bottom(x) for bottom in self.bottoms]
        if self.transfer is not None:
            streams = self.transfer(streams)
        return self.towers(streams)  # type: ignore[no-any-return]  # Module calls are untyped

    def losses(self, logits: Mapping[str, Tensor], batch: Batch, counts: Tensor) -> list[Tensor]:
        """Weighted loss of every task, the calibrator's share included."""
        losses = super().losses(logits, batch, counts)
        if self.calibrator:
            chances = [logits[name].to(counts.dtype).sigmoid() for name in self.task_names]
            known = ~batch["labels"].isnan()  # binary tasks: one column each
            weights = known if "weight" not in batch else known * batch["weight"].unsqueeze(1)
            for t, (before, after) in enumerate(pairwise(chances), 1):
                excess = ((after - before).relu() * weights[:, t]).sum() / counts[t]
                losses[t] = losses[t] + self.calibrator * excess
        return losses


class Transfer(nn.Module):
    """Hands information from task to task, in a chain.

    Args:
        width: Of every stream.
        transfers: Number of tasks but the first.

    Shape: T streams [B, width] -> T streams [B, width], the first as it was.
    """

    def __init__(self, width: int, transfers: int) -> None:
        super().__init__()
        self.carry = nn.ModuleList(MLP(width, (), width) for _ in range(transfers))
        self.value, self.key, self.query = (MLP(width, (), width) for _ in range(3))
        # A module without weights, so that what it says can be watched.
        self.attention = nn.ModuleList(nn.Softmax(-1) for _ in range(transfers))
        self.scale = width**-0.5

    def forward(self, streams: list[Tensor]) -> list[Tensor]:
        """The streams with what they took over; each hands on what it took."""
        first, *others = streams
        result = [first]
        for carry, attention, own in zip(self.carry, self.attention, others, strict=True):
            both = torch.stack([carry(result[-1]), own], 1)
            scores = (self.key(both) * self.query(both)).sum(-1) * self.scale
            result.append(mix(attention(scores), self.value(both)))
        return result
