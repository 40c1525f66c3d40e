"""What several Gramian rules share: checks of arguments, places in a state, cosines, singular systems, the simplex."""

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

EPS = torch.finfo(torch.float64).eps
TINY = torch.finfo(torch.float64).tiny


def tolerance(tasks: int) -> float:
    """Below this part of the largest one, eigenvalues of a Gramian are the rounding of its entries."""
    return 256 * tasks * EPS


def check(rule: nn.Module, name: str, value: object, allowed: str, ok: bool) -> None:
    """Refuses an argument.

    Raises:
        ValueError: Not `ok`.
    """
    if not ok:
        raise ValueError(f"{type(rule).__name__}: {name}={value!r} is not possible; allowed: {allowed}.")


def read_state(rule: nn.Module, state: Tensor, leading: torch.Size, tasks: int, groups: Tensor | None) -> Tensor:
    """The state [groups, tasks, ...] at the places `groups`, all of them for None, as [*leading, tasks, ...].

    Raises:
        ValueError: `allocate` was not called, or for other sizes.
    """
    count = leading.numel() if groups is None else state.shape[0]
    if state.dim() < 2 or state.shape[0] != count or state.shape[1] != tasks:
        raise ValueError(
            f"{type(rule).__name__} has a state of the shape {tuple(state.shape)} [groups, tasks, ...], and was called "
            f"with {leading.numel()} groups of {tasks} tasks: call allocate(groups, tasks) with the number of all "
            f"groups before the first call, and pass groups= where only some are there."
        )
    return state.reshape(*leading, *state.shape[1:]) if groups is None else state[groups]


def write_state(state: Tensor, old: Tensor, values: Tensor, groups: Tensor | None) -> None:
    """Puts `values` where `read_state` took `old`; what is not finite stays old, so one bad step does not last."""
    values = torch.where(values.isfinite(), values, old)
    if groups is None:
        state.copy_(values.reshape(state.shape))
    else:
        state[groups] = values


def norms_of(gramian: Tensor, active: Tensor) -> Tensor:
    """The norms [..., T]; 1 for a task without gradient, so that it can be divided by."""
    # The smallest squares may vanish where the Gramian was divided by its largest one.
    return torch.where(active, gramian.diagonal(dim1=-2, dim2=-1).clamp_min(TINY).sqrt(), 1.0)


def cosines_of(gramian: Tensor, active: Tensor) -> Tensor:
    """The cosines [..., T, T] of the gradients, which their scales don't touch; 0 with a task without gradient."""
    norms = norms_of(gramian, active)
    cosines = gramian / norms[..., :, None] / norms[..., None, :]
    both = active[..., :, None] & active[..., None, :]
    cosines = torch.where(both, cosines, 0.0)
    return torch.where(torch.eye(gramian.shape[-1], dtype=torch.bool, device=gramian.device), both.double(), cosines)


def eigh(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """`torch.linalg.eigh`, the order of the rows not mattering, and NaN eigenvalues where it would refuse its input.

    LAPACK keeps the small eigenvalues of gradients of very different lengths exact if the long ones come first. On a
    GPU torch waits for the result, to check it.

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
    if threads == 1 or matrices.device.type != "cpu" or matrices.shape[:-2].numel() < _MANY:
        found: tuple[Tensor, Tensor] = torch.linalg.eigh(matrices)
        return found
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(torch.linalg.eigh, matrices.flatten(0, -3).chunk(4 * threads)))
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


def project_on_simplex(values: Tensor, active: Tensor) -> Tensor:
    """The nearest point of the simplex of the active tasks: [..., T], 0 elsewhere (all of it 0 where none is)."""
    ordered = torch.where(active, values, -torch.inf).sort(-1, descending=True).values
    finite = ordered > -torch.inf
    counts = torch.arange(1, values.shape[-1] + 1, dtype=values.dtype, device=values.device)
    excess = _running_sums(torch.where(finite, ordered, 0.0)) - 1.0
    inside = finite & (ordered * counts > excess)
    last = inside.sum(-1, keepdim=True).clamp(min=1)
    shift = excess.gather(-1, last - 1) / last
    return torch.where(active, (values - shift).clamp(min=0.0), 0.0)


def _running_sums(values: Tensor) -> Tensor:
    """The sums [..., T] from the first to each."""
    if values.device.type == "cpu":
        return values.cumsum(-1)
    # A GPU's `cumsum` may add in another order in every run, and is refused by trainers that are deterministic.
    return values @ values.new_ones(values.shape[-1], values.shape[-1]).triu()
