"""Every matrix of the golden rules: its gradients, and what its references can be asked."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from golden_rules import FILES, GOLDEN, Entry, finite, tensor
from torch import Tensor

from mtlzoo.callbacks.rules import MGDA
from mtlzoo.callbacks.rules.linalg.rounding import tolerance

EPS = torch.finfo(torch.float64).eps


def matrices() -> Iterator[Any]:
    for path in FILES:
        for name, matrix in json.loads(path.read_text())["matrices"].items():
            yield pytest.param(matrix, id=f"{path.stem}-{name}")


CASES = list(matrices()) or [
    pytest.param(None, marks=pytest.mark.skip(reason=f"no rules.json at {GOLDEN}; set MTLZOO_GOLDEN"))
]


each_matrix = pytest.mark.parametrize("matrix", CASES)


class Case:
    """One matrix: its gradients, and what its references can be asked."""

    def __init__(self, matrix: Entry) -> None:
        self.entries = matrix
        self.rows = tensor(matrix["J"])
        self.gramian = tensor(matrix["gramian"])
        self.tasks = len(self.rows)
        self.norms = self.rows.norm(dim=1)
        self.active = self.norms > 0
        self.units = self.rows / torch.where(self.active, self.norms, 1.0)[:, None]

    def reference(self, library: str, name: str) -> Iterator[tuple[Entry, re.Match[str]]]:
        """The finite entries whose whole name matches."""
        for key, entry in self.entries.get(library, {}).items():
            if (match := re.fullmatch(name, key)) and "error" not in entry and finite(entry):
                yield entry, match

    def noise(self, *weights: Tensor) -> float:
        """Rounding of J^T w."""
        largest = torch.stack([w.abs() for w in weights] + [torch.ones_like(self.norms)]).amax(0)
        return 64 * EPS * float((largest * self.rows.abs().amax(1)).sum())

    def compare(self, weights: Tensor, gradient: Any, relative: float = 1e-10) -> None:
        """J^T w is `gradient`, relative to its largest entry."""
        expected = tensor(gradient)
        bound = relative * float(expected.abs().max()) + self.noise(weights)
        torch.testing.assert_close(weights @ self.rows, expected, rtol=0.0, atol=bound)

    def spectrum(self, symmetric: Tensor) -> Tensor:
        """Eigenvalues relative to the largest."""
        values: Tensor = torch.linalg.eigvalsh(symmetric)
        return values / values[-1:].clamp_min(1e-300)

    def doubtful(self, symmetric: Tensor) -> bool:
        """Whether torchjd's limit of the rank, T eps, and ours are not the same decision beyond rounding."""
        values = self.spectrum(symmetric).abs()
        return bool(((values > self.tasks * EPS / 3) & (values < 3 * tolerance(self.tasks))).any())

    @property
    def cosines(self) -> Tensor:
        return (self.units @ self.units.T)[self.active][:, self.active]

    @property
    def regular(self) -> bool:
        """Whether the gradients that there are are independent, beyond any rounding."""
        return bool(self.active.any()) and float(self.spectrum(self.cosines)[0]) > 3 * tolerance(self.tasks)

    @property
    def solved(self) -> float:
        """Relative error of what solves a system with the cosines."""
        values = self.spectrum(self.cosines)
        values = values[values > tolerance(self.tasks)]
        return 1e-10 + 64 * EPS / float(values.min()) if len(values) else 1e-10


def pinv(rows: Tensor) -> Tensor:
    inverse: Tensor = torch.linalg.pinv(rows, rtol=tolerance(len(rows)) ** 0.5)
    return inverse


def orders_of(kind: str, tasks: int) -> Tensor:
    """torchjd's orders of the others, from the end of an entry's name."""
    others = [[j for j in range(tasks) if j != i] for i in range(tasks)]
    if kind == "order_identity":
        return torch.tensor(others)
    if kind == "order_reversed":
        return torch.tensor([row[::-1] for row in others])
    torch.manual_seed(int(kind.rsplit("_", 1)[1]))
    drawn = [torch.randperm(tasks).tolist() for _ in range(tasks)]
    return torch.tensor([[j for j in row if j != i] for i, row in enumerate(drawn)])


class Problem:
    """One matrix as the problem that a solver is given."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.rows = tensor(entry["J"])
        self.gramian = self.rows @ self.rows.T
        self.tasks = len(self.rows)
        self.norms = self.rows.norm(dim=1)
        self.active = self.norms > 0
        self.largest = self.rows.abs().max()
        units = self.rows / torch.where(self.active, self.norms, 1.0)[:, None]
        self.cosines = units @ units.T

    def references(self, library: str, pattern: str) -> Iterator[tuple[re.Match[str], Any]]:
        for key, value in self.entry.get(library, {}).items():
            if match := re.fullmatch(pattern, key):
                yield match, value

    def close(self, weights: Tensor, gradient: Any, relative: float | None = None) -> None:
        """J^T w is as expected: to 1e-8 of the largest entry of J or of the expected, or relative to the latter."""
        expected = tensor(gradient)
        assert torch.isfinite(weights).all()
        assert not weights[~self.active].any()
        scale = expected.abs().max() if relative else torch.maximum(self.largest, expected.abs().max())
        relative = relative or 1e-8
        # Weights may be large where the vector isn't: the rounding of their sum.
        rounding = 1e-15 * self.tasks * (weights.abs() @ self.rows.abs()).max()
        torch.testing.assert_close(weights @ self.rows, expected, rtol=0, atol=float(relative * scale + rounding))

    def fair_residual(self, weights: Tensor, power: float) -> float:
        """How far weights are from ``(G w)_t = w_t^-power`` for the active tasks."""
        w = torch.where(self.active, weights, 1.0)
        residual = (self.gramian @ torch.where(self.active, weights, 0.0)) * w**power - 1
        return float(torch.where(self.active, residual.abs(), 0.0).max())

    def positive_null(self) -> bool:
        """Whether some gradients nearly cancel one another in a convex combination: tasks are Pareto stationary."""
        rule = MGDA("l2")
        w = rule(torch.where(self.active[:, None] & self.active, self.cosines, 0.0))
        return bool(w @ self.cosines @ w < 1e-5)
