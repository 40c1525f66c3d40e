"""ESMM: conversion learned on all rows, as the product of two probabilities (Ma et al., SIGIR 2018)."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from mtlzoo.embedding import FeatureEmbedding
from mtlzoo.layers import Activation, Towers, demand
from mtlzoo.module import MultiTaskModule, Schema
from mtlzoo.precision import single
from mtlzoo.schema import Batch


class ESMM(MultiTaskModule):
    """``p(click) = s(tower_1(x))``, ``p(click and conversion) = p(click) * s(tower_2(x))``, s the sigmoid.

    The second factor is the rate of conversion after a click, learned without a label of its own: both losses are over
    all rows, not over the clicked ones. Only `funnel`'s tasks are chained; the paper's has two, a longer one goes on in
    the same way (click, cart, purchase). A task that is not in the funnel is ``s(tower(x))``.

    The product is exact as a logit. With ``a`` and ``b`` the logits of the factors, ``(1 - p) / p`` is
    ``e^-a + e^-b + e^-(a+b)``, whose logarithm neither cancels nor overflows in float32.

    The labels must be a funnel: no row converts without a click. A row that does stops the training, unless
    ``require_funnel=False`` says that the model is wanted all the same.

    Source: Ma et al., "Entire Space Multi-Task Model: An Effective Approach for Estimating Post-Click Conversion Rate",
    SIGIR 2018; its sizes are tables 18 wide and networks of 360-200-80.

    Args:
        schema: Features and tasks.
        embedding_dim: Width of every feature's vector.
        funnel: Names of the chained tasks, the widest (click) first; by default all tasks in the schema's order.
        require_funnel: Whether a label that is above that of the task before it stops the training.
        tower_units: Hidden layers of each task's network; nothing else is between it and the embeddings.
        activation: Of all hidden layers.
        dropout: After every hidden layer.
        batch_norm: Before every activation.
        **base: Options of `MultiTaskModule`.

    Raises:
        ValueError: A funnel of fewer than two tasks, of unknown ones or of the same twice, of tasks that are not
            binary, or that are observed in some rows only (a conversion that is unknown, not 0, without a click).
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        funnel: Sequence[str] | None = None,
        require_funnel: bool = True,
        tower_units: Sequence[int] = (256, 128, 64),
        activation: Activation = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        **base: Any,
    ) -> None:
        super().__init__(schema, **base)
        tasks = {task.name: task for task in self.schema.tasks}
        self.funnel = list(tasks if funnel is None else funnel)
        self.require_funnel = require_funnel
        if len(self.funnel) < 2 or len(set(self.funnel)) < len(self.funnel) or not set(self.funnel) <= set(tasks):
            raise ValueError(f"ESMM: funnel={self.funnel}; allowed are two or more different tasks of {list(tasks)}.")
        wrong = {name: tasks[name].kind for name in self.funnel if tasks[name].kind != "binary"}
        if wrong:
            raise ValueError(
                f"ESMM: funnel={self.funnel} holds tasks that are not binary: {wrong}. Name the others: funnel=[...]."
            )
        partly = {name: tasks[name].observed for name in self.funnel if tasks[name].observed}
        if partly:
            raise ValueError(
                f"ESMM: of the funnel {self.funnel}, tasks are observed only where another label is 1: {partly}. ESMM "
                "learns them on all rows, as 0 where the step before did not happen; take `observed` out of the data."
            )
        hidden: dict[str, Any] = {"activation": activation, "dropout": dropout, "batch_norm": batch_norm}
        self.embedding = FeatureEmbedding(self.schema, embedding_dim, sparse=self.sparse)
        self.towers = Towers(self.schema.tasks, self.embedding.width, tower_units, **hidden)

    @property
    def shared_modules(self) -> list[str]:
        """The embedding."""
        return ["embedding"]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits of every task: [B], or [B, classes]; in the funnel those of the products."""
        x = self.embedding(batch)
        logits: dict[str, Tensor] = self.towers([x] * len(self.towers))
        for before, name in pairwise(self.funnel):
            logits[name] = both(logits[before], logits[name])
        return logits

    def losses(self, logits: Mapping[str, Tensor], batch: Batch, counts: Tensor) -> list[Tensor]:
        """Weighted loss of every task.

        Raises:
            RuntimeError: A label that is above that of the task before it in the funnel: on a CPU at once, on a GPU
                when the device gets there.
        """
        if self.require_funnel:
            columns = {task.name: batch["labels"][:, where] for task, where in self.schema.label_columns}
            for before, name in pairwise(self.funnel):
                demand(
                    ~(columns[name] > columns[before]).any(),
                    f"ESMM: a row of this batch has {name} without {before}, so these labels are no funnel. Put the "
                    "tasks in their order (funnel=), choose others, or set require_funnel=False.",
                )
        return super().losses(logits, batch, counts)


def both(a: Tensor, b: Tensor) -> Tensor:
    """Logit of the product of two probabilities, from their logits."""
    a, b = single(a), single(b)
    return -torch.logsumexp(torch.stack([-a, -b, -(a + b)]), 0)
