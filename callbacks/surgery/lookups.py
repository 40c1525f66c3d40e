"""Lookups in embedding tables, and how the gradients of what they gave become gradients of rows."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from mtlzoo.callbacks.surgery.rows import runs

_MEAN, _MAX = 1, 2


class Lookup:
    """One lookup in a table (`nn.functional.embedding` or `embedding_bag`), as its autograd node recorded it.

    It must be made before the graph is freed.

    Args:
        node: The lookup's node.
        rows: Rows of the table.

    Attributes:
        outputs: Rows of its output.
        index: [n], the row of each entry; entries of the padding row are left out.
        source: [n], the entry's row in the gradient of the lookup's output, or None where that is its own place.
        scale: [n], the entry's factor, or None.
        sparse: Whether the lookup asks for a sparse gradient.
    """

    def __init__(self, node: Node, rows: int) -> None:
        saved: Any = node
        self.rows = rows
        self.outputs = prod(saved._input_metadata[0].shape[:-1])
        self.sparse: bool = saved._saved_sparse
        self.source: Tensor | None = None
        self.scale: Tensor | None = None
        self.largest: Tensor | None = None
        self.index = saved._saved_indices.reshape(-1)
        if node.name() == "EmbeddingBagBackward0":
            self._read_bags(saved)
        if saved._saved_scale_grad_by_freq and self.largest is None:
            counts = torch.zeros(rows, dtype=torch.int64, device=self.index.device)
            counts = counts.index_add_(0, self.index, torch.ones_like(self.index, dtype=torch.int64))
            self._rescale(1 / counts[self.index].double())
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
            there = torch.ones_like(self.source) if padding >= 2**63 else (self.index != padding).long()
            sizes = torch.zeros(len(offsets), dtype=torch.int64, device=offsets.device)
            sizes = sizes.index_add_(0, self.source, there)
            self.scale = 1 / sizes[self.source].double()
        if saved._saved_per_sample_weights is not None:
            self._rescale(saved._saved_per_sample_weights.detach())

    def _rescale(self, factor: Tensor) -> None:
        self.scale = factor if self.scale is None else self.scale * factor


class RowSums:
    """Sums the gradients of lookups' outputs into gradients of rows, for all tables of one width at once.

    Sorting all entries once and summing runs of equal rows in bags is several times faster than `index_add_` on a CPU,
    and gives the same bits every time; that tables share the sort is worth as much again.

    Args:
        tables: For each table, the lookups in it.
        dim: Columns of the tables.
        dtype: Of the gradients.

    Attributes:
        index: For each table, [U], its touched rows, ascending.
    """

    def __init__(self, tables: Sequence[Sequence[Lookup]], dim: int, dtype: torch.dtype) -> None:
        self.lookups = [lookup for lookups in tables for lookup in lookups]
        self.dim, self.dtype = dim, dtype
        begins = [0, *accumulate(lookups[0].rows for lookups in tables)]  # and where the last one ends
        indices = torch.cat([lookup.index for lookup in self.lookups])
        counts = [sum(len(lookup.index) for lookup in lookups) for lookups in tables]
        # Rows of all tables are numbered through; numbers of 4 bytes sort twice as fast as those of 8.
        first = torch.tensor(begins[:-1], device=indices.device)
        of_each = torch.tensor(counts, device=indices.device)
        numbers = indices + first.repeat_interleave(of_each, output_size=len(indices))
        order, self.starts, touched = runs(numbers.int() if begins[-1] < 2**31 else numbers)
        bounds = torch.searchsorted(touched, first).tolist()
        self.lengths = [b - a for a, b in pairwise([*bounds, len(touched)])]
        parts = touched.split(self.lengths)
        self.index = [part - begin for part, begin in zip(parts, begins, strict=False)]
        plain = all(lookup.source is None and lookup.largest is None for lookup in self.lookups)
        self.places = order if plain else self._sources()[order]
        scales = self._scales()
        self.factors = None if scales is None else scales[order]

    def __call__(self, gradients: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
        """One task's gradients of the rows, [U, dim] for each table.

        Args:
            gradients: Of the lookups' outputs, [..., dim]; None for those that the task does not reach.
        """
        parts = [self._flat(lookup, gradient) for lookup, gradient in zip(self.lookups, gradients, strict=True)]
        flat = parts[0].contiguous() if len(parts) == 1 else torch.cat(parts)
        sums: Tensor = nn.functional.embedding_bag(
            self.places, flat, self.starts, mode="sum", per_sample_weights=self.factors
        )
        return tuple(sums.split(self.lengths))

    def _sources(self) -> Tensor:
        """Each entry's row among the gradients of all lookups' outputs, one below the other."""
        sources, start = [], 0
        for lookup in self.lookups:
            if lookup.source is None:
                sources.append(torch.arange(len(lookup.index), device=lookup.index.device) + start)
            else:
                sources.append(lookup.source + start)
            start += lookup.outputs if lookup.largest is None else len(lookup.index)
        return torch.cat(sources)

    def _scales(self) -> Tensor | None:
        if all(lookup.scale is None for lookup in self.lookups):
            return None
        return torch.cat(
            [
                torch.ones(len(lookup.index), dtype=self.dtype, device=lookup.index.device)
                if lookup.scale is None
                else lookup.scale.to(self.dtype)
                for lookup in self.lookups
            ]
        )

    def _flat(self, lookup: Lookup, gradient: Tensor | None) -> Tensor:
        """Gradient of a lookup's output as rows [.., dim]; zero for a task that does not reach it."""
        if lookup.largest is None:
            if gradient is None:
                return torch.zeros(lookup.outputs, self.dim, dtype=self.dtype, device=lookup.index.device)
            return gradient.reshape(-1, self.dim)
        # One row per number of the output, which is zero but for its own column.
        hot = torch.zeros(len(lookup.index), self.dim, dtype=self.dtype, device=lookup.index.device)
        if gradient is not None:
            columns = torch.arange(self.dim, device=hot.device).expand_as(lookup.largest).reshape(-1, 1)
            hot.scatter_(1, columns, gradient[lookup.bags].reshape(-1, 1))
        return hot
