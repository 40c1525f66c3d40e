"""Gradients that solvers stumble over, many kinds of one number of tasks at once, and what their tests measure."""

from collections.abc import Iterator

import torch
from torch import Tensor

GROUPS = 64
F64 = torch.float64


def kinds(tasks: int) -> Iterator[tuple[str, Tensor]]:
    """Jacobians [GROUPS, T, d]."""
    generator = torch.Generator().manual_seed(tasks)

    def random(*shape: int) -> Tensor:
        return torch.randn(GROUPS, *shape, generator=generator, dtype=F64)

    plain = random(tasks, tasks + 3)
    yield "plain", plain
    yield "conflict", plain - 1.2 * plain.mean(1, keepdim=True)
    yield "nearly stationary", plain - (1 - 1e-4) * plain.mean(1, keepdim=True)
    yield "stationary", plain - plain.mean(1, keepdim=True)
    yield "tiny", 1e-12 * plain
    yield "huge", 1e12 * plain
    yield "norms", plain * 10 ** (12 * torch.rand(GROUPS, tasks, 1, generator=generator, dtype=F64) - 6)
    for rank in {1, 2, max(1, tasks // 2), tasks - 1}:
        yield f"rank {rank}", random(tasks, rank)
    yield "common part", plain + 10 * random(1, tasks + 3)
    yield "nearly equal", random(1, tasks + 3) + 1e-6 * plain
    yield "integers", plain.round()
    for name, place in (("equal", 1.0), ("opposite", -1.0), ("opposite, twice as long", -2.0), ("one zero", 0.0)):
        paired = plain.clone()
        paired[:, -1] = place * paired[:, 0]
        yield name, paired
    yield "zero", 0 * plain


class Gramians:
    """Those of every kind.

    Attributes:
        names: Of the N kinds.
        g: [N, groups, T, T].
        active: [N, groups, T], which tasks have a gradient.
    """

    def __init__(self, tasks: int, groups: int = GROUPS) -> None:
        self.names, jacobians = zip(*kinds(tasks), strict=True)
        self.g = torch.stack([jacobian[:groups] @ jacobian[:groups].mT for jacobian in jacobians])
        self.active = self.g.diagonal(dim1=-2, dim2=-1) != 0

    def hold(self, kept: Tensor) -> None:
        """All of [N, groups, ...] are True."""
        wrong: dict[str, list[int]] = {}
        for kind, group in (~kept.flatten(2).all(-1) if kept.dim() > 2 else ~kept).nonzero().tolist():
            wrong.setdefault(self.names[kind], []).append(group)
        assert not wrong, "; ".join(
            f"{name}: {len(groups)} groups, {groups[:5]} first" for name, groups in wrong.items()
        )


def norms(g: Tensor) -> Tensor:
    return g.diagonal(dim1=-2, dim2=-1).sqrt()


def products(g: Tensor, w: Tensor) -> Tensor:
    """Of every gradient with the combination."""
    return (g @ w[..., None]).squeeze(-1)


def quadratic(g: Tensor, w: Tensor) -> Tensor:
    return (w * products(g, w)).sum(-1)


def lengths(g: Tensor, w: Tensor) -> Tensor:
    """What the terms of the combination have in norm: rounding is relative to it."""
    return (w.abs() * norms(g)).sum(-1)


def shortest(g: Tensor, active: Tensor) -> Tensor:
    return torch.where(active, g.diagonal(dim1=-2, dim2=-1), torch.inf).amin(-1)


def gramian_of(*rows: list[float]) -> Tensor:
    """[T, T] of gradients that are written out."""
    matrix = torch.tensor(rows, dtype=torch.float64)
    return matrix @ matrix.T
