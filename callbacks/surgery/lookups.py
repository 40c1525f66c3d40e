"""Lookups in embedding tables, and how the gradients of what they gave become gradients of rows."""

from collections.abc import Sequence
from itertools import accumulate, islice, pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from mtlzoo.callbacks.equal_runs import firsts, starts

_MEAN, _MAX = 1, 2


class Lookup:
    """One lookup in a table (`nn.functional.embedding` or `embedding_bag`), as its autograd node recorded it.

    It must be made before the graph is freed.

    Args:
        node: The lookup's node.
        rows: Rows of the table.

    Attributes:
        outputs: Rows of its output; of one that takes maxima, numbers of it.
        index: [n], the row of each entry; entries of the padding row are left out.
        left_out: [n], which entries are left out, where they are still there; None where they are not.
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
        self.left_out: Tensor | None = None
        self.index = saved._saved_indices.reshape(-1)
        if node.name() == "EmbeddingBagBackward0":
            self._read_bags(saved)
        if saved._saved_scale_grad_by_freq and self.largest is None:
            counts = torch.zeros(rows, dtype=torch.int64, device=self.index.device)
            counts = counts.index_add_(0, self.index, torch.ones_like(self.index, dtype=torch.int64))
            self._rescale(1 / counts[self.index].double())
        padding = saved._saved_padding_idx
        if 0 <= padding < rows and self.largest is None:
            self._leave_out(self.index == padding)

    def _read_bags(self, saved: Any) -> None:
        offsets, sizes = saved._saved_offsets, saved._saved_result2
        if saved._saved_mode == _MAX:
            # Every column of a bag has a row of its own that it came from; empty bags came from none.
            largest = saved._saved_result3.to(self.index.dtype)
            self.index, self.largest, self.outputs = largest.reshape(-1), largest, largest.numel()
            self._leave_out((sizes[: len(largest), None] == 0).expand_as(largest).reshape(-1))
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

    def _leave_out(self, entries: Tensor) -> None:
        """On a GPU the host would have to wait for how many are left: there they stay, and are marked."""
        if entries.device.type != "cpu":
            self.left_out = entries
            self.scale = None if self.scale is None else self.scale.where(~entries, 0)  # 1 / 0 where all of a bag is
            return
        kept = (~entries).nonzero().squeeze(1)
        self.source = kept if self.source is None else self.source[kept]
        self.scale = None if self.scale is None else self.scale[kept]
        self.index = self.index[kept]

    def _rescale(self, factor: Tensor) -> None:
        self.scale = factor if self.scale is None else self.scale * factor


class RowSums:
    """Sums the gradients of lookups' outputs into gradients of rows, for all tables of one width at once.

    Sorting all entries once and summing runs of equal rows in bags is several times faster than `index_add_` on a CPU,
    and gives the same bits every time; that tables share the sort is worth as much again. `settle` comes before use.

    Args:
        tables: For each table, the lookups in it.
        dim: Columns of the tables.
        dtype: Of the gradients.

    Attributes:
        index: For each table, [U], its touched rows, ascending.
        bounds: How many rows are touched in all tables up to each, one number more than tables; on the device.
    """

    index: list[Tensor]

    def __init__(self, tables: Sequence[Sequence[Lookup]], dim: int, dtype: torch.dtype) -> None:
        self.lookups = [lookup for lookups in tables for lookup in lookups]
        self.dim, self.dtype = dim, dtype
        # Rows of all tables are numbered through, and after a table's own comes one for what is left out; numbers of 4
        # bytes sort twice as fast as those of 8.
        self._begins = [0, *accumulate(lookups[0].rows + 1 for lookups in tables)]
        number = torch.int32 if self._begins[-1] < 2**31 else torch.int64
        numbers = [
            _numbered(lookup, begin, number)
            for lookups, begin in zip(tables, self._begins, strict=False)
            for lookup in lookups
        ]
        self._ordered, order = torch.cat(numbers).sort(stable=True)
        self._first = firsts(self._ordered)
        places = [0, *accumulate(sum(len(lookup.index) for lookup in lookups) for lookups in tables)]
        for lookups, (start, end), after in zip(tables, pairwise(places), self._begins[1:], strict=True):
            if any(lookup.left_out is not None for lookup in lookups):
                self._first[start:end] &= self._ordered[start:end] != after - 1
        found = nn.functional.pad(self._first.cumsum(0), (1, 0))
        self.bounds = torch.stack([found[place] for place in places])
        # An entry that is left out counts to the run before it, as a row of zeros below all gradients.
        self._below = any(lookup.left_out is not None for lookup in self.lookups)
        plain = not self._below and all(lookup.source is None for lookup in self.lookups)
        self.places = order if plain else self._sources()[order]
        scales = self._scales()
        self.factors = None if scales is None else scales[order]

    def settle(self, bounds: Sequence[int]) -> None:
        """Learns how many rows are touched: what `bounds` holds, which the host has to wait for."""
        self.lengths = [b - a for a, b in pairwise(bounds)]
        self.starts = starts(self._first, bounds[-1])
        parts = self._ordered[self.starts].split(self.lengths)
        self.index = [(part - begin).long() for part, begin in zip(parts, self._begins, strict=False)]
        if self._below:
            self.starts[:1] = 0

    def __call__(self, gradients: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
        """One task's gradients of the rows, [U, dim] for each table.

        Args:
            gradients: Of the lookups' outputs, [..., dim]; None for those that the task does not reach.
        """
        parts = [self._flat(lookup, gradient) for lookup, gradient in zip(self.lookups, gradients, strict=True)]
        parts += [parts[0].new_zeros(1, self.dim)] if self._below else []
        flat = parts[0].contiguous() if len(parts) == 1 else torch.cat(parts)
        sums: Tensor = nn.functional.embedding_bag(
            self.places, flat, self.starts, mode="sum", per_sample_weights=self.factors
        )
        return tuple(sums.split(self.lengths))

    def _sources(self) -> Tensor:
        """Each entry's row among the gradients of all lookups' outputs, one below the other."""
        below = sum(lookup.outputs for lookup in self.lookups)
        sources, start = [], 0
        for lookup in self.lookups:
            own = (
                torch.arange(len(lookup.index), device=lookup.index.device) if lookup.source is None else lookup.source
            )
            own = own + start
            sources.append(own if lookup.left_out is None else torch.where(lookup.left_out, below, own))
            start += lookup.outputs
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
        if gradient is None:
            return torch.zeros(lookup.outputs, self.dim, dtype=self.dtype, device=lookup.index.device)
        if lookup.largest is None:
            return gradient.reshape(-1, self.dim)
        # One row per number of the output, which is zero but for its own column.
        hot = gradient.new_zeros(lookup.outputs, self.dim)
        columns = torch.arange(self.dim, device=hot.device).expand_as(lookup.largest).reshape(-1, 1)
        return hot.scatter_(1, columns, gradient.reshape(-1, 1))


def settle(sums: Sequence[RowSums]) -> None:
    """Asks how many rows of each table are touched: the host waits for the device once, for all."""
    if sums:
        found = iter(torch.cat([one.bounds for one in sums]).tolist())
        for one in sums:
            one.settle(list(islice(found, len(one.bounds))))


def _numbered(lookup: Lookup, begin: int, dtype: torch.dtype) -> Tensor:
    numbers = lookup.index.to(dtype) + begin
    return numbers if lookup.left_out is None else torch.where(lookup.left_out, begin + lookup.rows, numbers)
