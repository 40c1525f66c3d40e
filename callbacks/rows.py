"""Gradients of embedding tables by touched row: [tasks, touched, dim], never [tasks, rows, dim]."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

_MEAN, _MAX = 1, 2


@dataclass
class Rows:
    """Per-task gradients of the rows of one table that any task touches.

    Args:
        index: [U], ascending, each row once.
        values: By task, [U, dim].
    """

    index: Tensor
    values: dict[int, Tensor]


class Lookup:
    """One lookup in a table (`nn.functional.embedding` or `embedding_bag`), as its autograd node recorded it.

    It must be made before the graph is freed.

    Args:
        node: The lookup's node.
        rows: Rows of the table.

    Attributes:
        index: [n], the row of each entry; entries of the padding row are left out.
        source: [n], the entry's row in the gradient of the lookup's output, or None where that is its own place.
        scale: [n], the entry's factor, or None.
        sparse: Whether the lookup asks for a sparse gradient.
    """

    def __init__(self, node: Node, rows: int) -> None:
        saved: Any = node
        self.sparse: bool = saved._saved_sparse
        self.source: Tensor | None = None
        self.scale: Tensor | None = None
        self.largest: Tensor | None = None
        # Numbers of 4 bytes sort twice as fast as those of 8.
        self.index = saved._saved_indices.reshape(-1).to(torch.int32 if rows < 2**31 else torch.int64)
        if node.name() == "EmbeddingBagBackward0":
            self._read_bags(saved)
        if saved._saved_scale_grad_by_freq and self.largest is None:
            counts = torch.zeros(rows, dtype=torch.int64, device=self.index.device)
            counts = counts.index_add_(0, self.index, torch.ones_like(self.index, dtype=torch.int64))
            self._rescale(1 / counts[self.index])
        padding = saved._saved_padding_idx
        if 0 <= padding < rows and self.largest is None:
            kept = (self.index != padding).nonzero().squeeze(1)
            self.source = kept if self.source is None else self.source[kept]
            self.scale = self.scale if self.scale is None else self.scale[kept]
            self.index = self.index[kept]

    def _read_bags(self, saved: Any) -> None:
        offsets, sizes = saved._saved_offsets, saved._saved_result2
        if saved._saved_mode == _MAX:
            # Every column of a bag has a row of its own that it came from; empty bags came from none.
            largest = saved._saved_result3.to(self.index.dtype)
            self.bags = (sizes[: len(largest)] > 0).nonzero().squeeze(1)
            self.largest = largest[self.bags]
            self.index = self.largest.reshape(-1)
            return
        places = torch.arange(len(self.index), device=self.index.device)
        self.source = torch.searchsorted(offsets, places, right=True) - 1
        if saved._saved_mode == _MEAN:
            padding = saved._saved_padding_idx
            there = torch.ones_like(self.index) if padding >= 2**63 else (self.index != padding).long()
            sizes = torch.zeros(len(offsets), dtype=torch.int64, device=offsets.device)
            sizes = sizes.index_add_(0, self.source, there)
            self.scale = 1 / sizes[self.source].double()
        if saved._saved_per_sample_weights is not None:
            self._rescale(saved._saved_per_sample_weights.detach())

    def _rescale(self, factor: Tensor) -> None:
        self.scale = factor if self.scale is None else self.scale * factor


def by_row(lookups: Sequence[Lookup], gradients: Sequence[Mapping[int, Tensor]], dim: int) -> Rows:
    """Sums the gradients of lookups' outputs into gradients of the table's rows.

    Sorting the entries once and summing runs of equal rows in bags is several times faster than `index_add_` on a CPU,
    and gives the same bits every time.

    Args:
        lookups: All lookups in one table.
        gradients: For each lookup, by task: the gradient of its output, of any shape [..., dim].
        dim: Columns of the table.
    """
    tasks = sorted({task for by_task in gradients for task in by_task})
    some = next(gradient for by_task in gradients for gradient in by_task.values())
    entries = torch.cat([lookup.index for lookup in lookups])
    order, starts, index = _runs(entries)
    plain = all(lookup.source is None and lookup.largest is None for lookup in lookups)
    source = None if plain else _sources(lookups, gradients, dim)
    scale = _scales(lookups, some.dtype)
    places = order if source is None else source[order]
    factors = None if scale is None else scale[order]
    values = {}
    for task in tasks:
        parts = [_flat(lookup, by_task, task, dim) for lookup, by_task in zip(lookups, gradients, strict=True)]
        flat = parts[0] if len(parts) == 1 else torch.cat(parts)
        values[task] = nn.functional.embedding_bag(places, flat, starts, mode="sum", per_sample_weights=factors)
    return Rows(index, values)


def merge(parts: Sequence[Rows]) -> Rows:
    """The sum of gradients that touch different rows."""
    if len(parts) == 1:
        return parts[0]
    order, starts, index = _runs(torch.cat([part.index for part in parts]))
    values = {}
    for task in sorted({task for part in parts for task in part.values}):
        like = next(part.values[task] for part in parts if task in part.values)
        found = [part.values.get(task, like.new_zeros(len(part.index), like.shape[1])) for part in parts]
        values[task] = nn.functional.embedding_bag(order, torch.cat(found), starts, mode="sum")
    return Rows(index, values)


def _runs(entries: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The order that sorts row numbers, where each run of equal ones starts in it, and the rows of the runs."""
    ordered, order = entries.sort(stable=True)
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    starts = first.nonzero().squeeze(1)
    return order, starts, ordered[starts].long()


def _sources(lookups: Sequence[Lookup], gradients: Sequence[Mapping[int, Tensor]], dim: int) -> Tensor:
    """Each entry's row among the gradients of all lookups' outputs, one below the other."""
    sources, start = [], 0
    for lookup, by_task in zip(lookups, gradients, strict=True):
        length = len(lookup.index)
        if lookup.source is None:
            places = torch.arange(length, device=lookup.index.device)
        else:
            places = lookup.source
            length = next(iter(by_task.values())).numel() // dim
        sources.append(places + start)
        start += length
    return torch.cat(sources)


def _scales(lookups: Sequence[Lookup], dtype: torch.dtype) -> Tensor | None:
    if all(lookup.scale is None for lookup in lookups):
        return None
    return torch.cat(
        [
            torch.ones(len(lookup.index), dtype=dtype, device=lookup.index.device)
            if lookup.scale is None
            else lookup.scale.to(dtype)
            for lookup in lookups
        ]
    )


def _flat(lookup: Lookup, by_task: Mapping[int, Tensor], task: int, dim: int) -> Tensor:
    """Gradient of a lookup's output as rows [.., dim]; zero for a task that does not reach it."""
    some = next(iter(by_task.values()))
    gradient = by_task.get(task)
    if lookup.largest is None:
        return (torch.zeros_like(some) if gradient is None else gradient).reshape(-1, dim)
    # One row per number of the output, which is zero but for its own column.
    hot = some.new_zeros(lookup.largest.numel(), dim)
    if gradient is not None:
        columns = torch.arange(dim, device=some.device).expand_as(lookup.largest).reshape(-1, 1)
        hot.scatter_(1, columns, gradient[lookup.bags].reshape(-1, 1))
    return hot
