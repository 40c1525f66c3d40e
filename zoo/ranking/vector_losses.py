"""Losses that compare vectors of users and items: rankings, links, alignment and uniformity.

Each gives a loss per row of the batch, [B], and says which rows it observes; the model takes the mean over those.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlzoo.callbacks import collectives
from mtlzoo.schema import PADDING, Batch


class Vectors(NamedTuple):
    """Vectors of a batch of train.

    Shapes: ``user`` and ``item`` [B, d]; ``negative`` [B, N, d]; ``links`` by name [B, 3, d].
    """

    user: Tensor
    item: Tensor
    negative: Tensor | None
    links: dict[str, Tensor]


class VectorLoss(Protocol):
    """What all losses of vectors are."""

    def observed(self, batch: Batch) -> Tensor:
        """Rows that the loss is of: bool [B]."""
        ...

    def __call__(self, vectors: Vectors, batch: Batch, observed: Tensor) -> Tensor:
        """Loss of every row [B], 0 where not observed."""
        ...


class Ranking:
    """Positive interactions before sampled ones.

    Args:
        column: Column of the label in ``batch["labels"]``: 1 where the interaction is positive.
        compare: Scores of the positive [B] and of the sampled items [B, N], and which of these are there, to losses
            [B].
    """

    def __init__(self, column: int, compare: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        self.column = column
        self.compare = compare

    def observed(self, batch: Batch) -> Tensor:
        """Positive interactions of users that have not interacted with everything."""
        observed: Tensor = (batch["labels"][:, self.column] == 1) & (batch["negative"] != PADDING).any(1)
        return observed

    def __call__(self, vectors: Vectors, batch: Batch, observed: Tensor) -> Tensor:
        """Loss of every row."""
        assert vectors.negative is not None
        positive = (vectors.user * vectors.item).sum(-1)
        negative = (vectors.negative @ vectors.user.unsqueeze(-1)).squeeze(-1)
        rows = self.compare(positive, negative, batch["negative"] != PADDING)
        return torch.where(observed, rows, 0.0)


def bpr(positive: Tensor, negative: Tensor, there: Tensor) -> Tensor:
    """``-log sigmoid(s+ - s-)``, the mean over the sampled items (Rendle et al., UAI 2009)."""
    rows = torch.where(there, F.softplus(negative - positive.unsqueeze(1)), 0.0)
    return rows.sum(1) / there.sum(1).clamp(min=1)


def sampled_softmax(positive: Tensor, negative: Tensor, there: Tensor) -> Tensor:
    """``-log(e^s+ / (e^s+ + sum e^s-))`` over uniformly sampled items (as in Jean et al., ACL 2015)."""
    scores = torch.cat([positive.unsqueeze(1), negative.masked_fill(~there, -torch.inf)], 1)
    return scores.logsumexp(1) - positive


class AlignmentUniformity:
    """DirectAU (Wang et al., KDD 2022): interacting pairs close on the sphere, users among themselves apart, items too.

    ``mean |u - i|^2 + gamma (uniformity(users) + uniformity(items)) / 2`` over the positive interactions of the batch,
    with vectors of length 1 and ``uniformity(x) = log mean exp(-2 |x - y|^2)`` over pairs of rows of the global batch.

    Args:
        column: Column of the label that says which interactions are positive; None: all are.
        gamma: Weight of the uniformity.
    """

    def __init__(self, column: int | None, gamma: float) -> None:
        self.column = column
        self.gamma = gamma

    def observed(self, batch: Batch) -> Tensor:
        """Positive interactions."""
        if self.column is None:
            return torch.ones_like(batch["categorical"][:, 0], dtype=torch.bool)
        observed: Tensor = batch["labels"][:, self.column] == 1
        return observed

    def __call__(self, vectors: Vectors, batch: Batch, observed: Tensor) -> Tensor:
        """Loss of every row; the uniformity, which is one of the batch, is in each."""
        user, item = F.normalize(vectors.user, dim=-1), F.normalize(vectors.item, dim=-1)
        close = (user - item).square().sum(-1)
        apart = (_uniformity(user, observed) + _uniformity(item, observed)) / 2
        return torch.where(observed, close + self.gamma * apart, 0.0)


def _uniformity(x: Tensor, observed: Tensor) -> Tensor:
    """``log mean exp(-2 |x_i - x_j|^2)`` over the pairs i < j of observed rows of all processes; 0 with fewer than two.

    The rows of the other processes are constants here. Their own gradients come from themselves, and so the gradient
    of this process's rows is scaled such that the mean over rows and processes is the gradient of the whole.
    """
    every, seen, own = x, observed, slice(0, len(x))
    if collectives.world_size() > 1:
        parts, masks = collectives.gather([x.detach(), observed])
        rank = torch.distributed.get_rank()
        start = sum(map(len, parts[:rank]))
        every = torch.cat([*parts[:rank], x, *parts[rank + 1 :]])
        seen, own = torch.cat(masks), slice(start, start + len(x))
    weight = seen.to(every.dtype)
    itself = (4 * every.square().sum(-1) - 4).exp()
    total = cast(Tensor, _Near.apply(every, weight)) - (itself * weight).sum()  # type: ignore[no-untyped-call]
    number = weight.sum()
    value = (total / (number * (number - 1)).clamp(min=1)).clamp(min=torch.finfo(x.dtype).tiny).log()
    value = torch.where(number > 1, value, 0.0)
    if collectives.world_size() > 1:
        share = number / weight[own].sum().clamp(min=1)
        value = value + (share - 1) * (value - value.detach())
    return value


class _Near(torch.autograd.Function):
    """``sum_ij w_i w_j exp(4 x_i . x_j - 4)``: exp(-2 |x - y|^2) where rows have length 1.

    By itself torch would keep and walk several matrices of all pairs: this is 1.7 times as fast.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # backward runs outside of it
            near = torch.addmm(x.new_full((), -4.0), x, x.T, alpha=4).exp_()
            ctx.save_for_backward(near, x, weight)
            return weight @ near @ weight

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        near, x, weight = ctx.saved_tensors
        return 8 * gradients[0] * weight.unsqueeze(1) * (near @ (weight.unsqueeze(1) * x)), None


class Link:
    """Whether two users, or two items, are linked: logistic losses of a partner's and a stranger's dot product, halved.

    Args:
        name: Of the links, and of their draws in the batch.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def observed(self, batch: Batch) -> Tensor:
        """Rows with somebody who is linked."""
        observed: Tensor = batch[self.name][:, 0] != PADDING
        return observed

    def __call__(self, vectors: Vectors, batch: Batch, observed: Tensor) -> Tensor:
        """Loss of every row."""
        anchor, partner, stranger = vectors.links[self.name].unbind(1)
        near, far = (anchor * partner).sum(-1), (anchor * stranger).sum(-1)
        there = batch[self.name][:, 2] != PADDING
        rows = (F.softplus(-near) + torch.where(there, F.softplus(far), 0.0)) / (1 + there.to(near.dtype))
        return torch.where(observed, rows, 0.0)


RANKINGS: dict[str, Any] = {"bpr": bpr, "softmax": sampled_softmax}
"""Ways to compare a positive with sampled items, by name; ``directau`` compares with the batch instead."""
