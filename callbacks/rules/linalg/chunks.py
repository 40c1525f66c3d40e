"""Many problems, in pieces that fit the cache, or a solver."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor


def together(matrix: Tensor) -> int:
    """How many problems [..., T, T] fit the cache."""
    return max(1, (2**17 if matrix.device.type == "cpu" else 2**25) // matrix.shape[-1] ** 2)


def by_chunks(solver: Callable[..., Tensor], matrix: Tensor, *vectors: Tensor) -> Tensor:
    """Runs a solver of ([T, T, N], [T, N] ...) to [T, N] on [..., T, T] and [..., T], in pieces that fit the cache."""
    shape, tasks = matrix.shape[:-1], matrix.shape[-1]
    flat = matrix.reshape(-1, tasks, tasks)
    rows = [vector.reshape(-1, vector.shape[-1]) for vector in vectors]
    size = together(matrix)
    pieces = [
        solver(flat[i : i + size].permute(1, 2, 0), *(row[i : i + size].T.contiguous() for row in rows)).T
        for i in range(0, len(flat), size)
    ]
    return torch.cat(pieces).reshape(shape) if pieces else matrix.new_zeros(shape)


SOLVED = 2**14
"""Matrices that a GPU's solver is given at once: cuSOLVER's batched ones refuse more than some 32 thousand."""


def for_solver(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors [n, ...] in pieces that a solver takes: on a CPU in one, at least one if there is nothing to solve."""
    size = max(1, len(tensors[0])) if tensors[0].device.type == "cpu" else SOLVED
    return zip(*(tensor.split(size) for tensor in tensors), strict=True)
