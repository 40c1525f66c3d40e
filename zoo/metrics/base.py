"""What all metrics of the package have in common."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torchmetrics import Metric

from mtlzoo.callbacks.collectives import world_size
from mtlzoo.callbacks.described import described


class DoubleMetric(Metric):
    """A metric that stays right where torchmetrics' defaults go wrong.

    * Sums stay float64 when the module changes type: ``module.to(torch.bfloat16)``, as in Lightning's
      ``precision="bf16-true"``, casts the state of a torchmetrics `Metric`, and sums would stand still at 256 rows.
    * `compute` is not cached: a rank that got no rows since the last time would answer from its cache while the others
      wait for it to gather.
    * Of a list every rank gathers one tensor: torchmetrics gathers entry by entry, and ranks that hold different
      numbers of them would wait for each other. A list is never empty where it is gathered.

    Args:
        dist_sync_fn: How the states of all ranks are gathered; torchmetrics' way if None.
    """

    __repr__ = described
    is_differentiable = False
    full_state_update = False

    def __init__(self, dist_sync_fn: Callable[..., list[Tensor]] | None = None) -> None:
        super().__init__(dist_sync_fn=dist_sync_fn, compute_with_cache=False)

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gathers the states of all ranks; torchmetrics calls it in `compute`."""
        for name, join in self._reductions.items() if world_size() > 1 else ():
            entries = getattr(self, name)
            if isinstance(entries, list) and len(entries) > 1:
                setattr(self, name, [cast(Callable[..., Tensor], join)(entries)])
        super().sync(*args, **kwargs)

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ()) -> torch.nn.Module:
        def move(tensor: Tensor) -> Tensor:
            return tensor.to(fn(torch.empty(0, device=tensor.device)).device)

        return super()._apply(move, exclude_state)


def side_by_side(blocks: list[Tensor] | Tensor) -> Tensor:
    """Blocks [k, n] of rows as one; for states whose rows lie along the second dimension."""
    return blocks if isinstance(blocks, Tensor) else torch.cat(blocks, 1)


@contextmanager
def silent_without_rows() -> Iterator[None]:
    """Lets `compute` of metrics that got no row say NaN and nothing else: a process, or a bucket, may get none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The ``compute`` method of metric .* was called before the ``update``")
        yield
