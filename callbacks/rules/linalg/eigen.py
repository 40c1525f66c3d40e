"""Eigenvalues of many small matrices, and the singular systems that they solve."""

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.linalg.chunks import for_solver
from mtlzoo.callbacks.rules.linalg.rounding import TINY, tolerance


def eigh(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """`torch.linalg.eigh`, the order of the rows not mattering, and NaN eigenvalues where it would refuse its input.

    LAPACK keeps the small eigenvalues of gradients of very different lengths exact if the long ones come first; what
    a GPU's solver makes of them nobody has measured here, and the order costs it little. On a GPU torch waits for the
    result, to check it.

    Args:
        matrices: [..., T, T], symmetric.

    Returns:
        Eigenvalues [..., T], ascending, and eigenvectors [..., T, T] in columns.
    """
    finite = matrices.sum((-2, -1)).isfinite()[..., None]
    matrices = torch.where(finite[..., None], matrices, 0.0)
    order = matrices.diagonal(dim1=-2, dim2=-1).argsort(dim=-1, descending=True, stable=True)
    rows, columns = order[..., :, None].expand_as(matrices), order[..., None, :].expand_as(matrices)
    eigenvalues, vectors = _eigh(matrices.gather(-2, rows).gather(-1, columns))
    return torch.where(finite, eigenvalues, torch.nan), torch.zeros_like(vectors).scatter(-2, rows, vectors)


_MANY = 4096
"""Matrices that are worth several threads."""


def _eigh(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """`torch.linalg.eigh`, which takes one matrix after another on a CPU, on all of its threads; of two tasks, at once.

    Args:
        matrices: [..., T, T], symmetric, the diagonals descending.
    """
    if matrices.shape[-1] == 2:
        return _eigh_of_two(matrices)
    threads = torch.get_num_threads()
    flat = matrices.flatten(0, -3) if matrices.dim() > 2 else matrices[None]
    if threads == 1 or matrices.device.type != "cpu" or len(flat) < _MANY:
        parts = [torch.linalg.eigh(part) for (part,) in for_solver(flat)]
    else:
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(torch.linalg.eigh, flat.chunk(4 * threads)))
    values, vectors = (torch.cat(one) for one in zip(*parts, strict=True))
    return values.view(matrices.shape[:-1]), vectors.view(matrices.shape)


def _eigh_of_two(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """One rotation of Jacobi's method, which for matrices [..., 2, 2] is exact."""
    (large, inner), (_, small) = (row.unbind(-1) for row in matrices.unbind(-2))
    gap = large - small
    tangent = 2 * inner / (torch.hypot(gap, 2 * inner) + gap).clamp_min(TINY)
    cosine = torch.rsqrt(1 + tangent.square())
    sine, moved = tangent * cosine, tangent * inner
    first, second = torch.stack([-sine, cosine], -1), torch.stack([cosine, sine], -1)
    return torch.stack([small - moved, large + moved], -1), torch.stack([first, second], -1)


def solve_psd(matrices: Tensor, right: Tensor) -> Tensor:
    """The shortest of the best solutions x of ``matrices x = right``: ``pinv(matrices) right``.

    Components of `right` that are the rounding of the eigenvectors count as none, so a right side that is orthogonal
    to the range gives exactly 0.

    Args:
        matrices: [..., T, T], positive semi-definite.
        right: [..., T].

    Returns:
        [..., T].
    """
    eigenvalues, vectors = eigh(matrices)
    along = (vectors * right[..., :, None]).sum(-2)
    # |along| <= |right|: what passes also has an eigenvalue above the rounding.
    floor = tolerance(right.shape[-1]) * eigenvalues.amax(-1) * right.square().sum(-1).sqrt()
    keep = eigenvalues * along.abs() > floor[..., None]
    along = torch.where(keep | eigenvalues.isnan(), along / torch.where(keep, eigenvalues, 1.0), 0.0)
    along = torch.where(eigenvalues.isnan(), torch.nan, along)
    return (vectors * along[..., None, :]).sum(-1)
