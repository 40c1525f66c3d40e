"""Solvers of a GPU are given no more matrices than they take; what they are given is all there is."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from every_rule import Build, builders
from torch import Tensor

from mtlzoo.callbacks.rules.linalg import chunks
from mtlzoo.callbacks.rules.linalg.chunks import for_solver

LIMIT = 32768
"""Matrices that cuSOLVER was seen to take at once."""


@pytest.mark.parametrize("tasks", [3, 17])
@pytest.mark.parametrize("build", builders())
def test_rules_of_many_rows(build: Build, tasks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device without numbers, which nobody may wait for, either."""
    asked: list[int] = []
    monkeypatch.setattr(chunks, "together", lambda matrix: 1 << 40)  # other pieces are smaller than a solver's, or not
    for name in ("eigh", "eigvalsh", "svd", "solve", "solve_ex", "cholesky", "cholesky_ex", "lstsq", "pinv", "inv"):
        solver = getattr(torch.linalg, name)
        monkeypatch.setattr(torch.linalg, name, _counted(solver, asked))
    rule, groups = build(tasks).to("meta"), LIMIT + 1
    rule.allocate(groups, tasks)
    if getattr(rule, "order", "") == "mean" and tasks > 9:
        pytest.skip("refuses so many tasks")
    given = {"losses": torch.empty(tasks, device="meta")} if rule.needs_losses else {}
    weights = rule(torch.empty(groups, tasks, tasks, device="meta"), **given)
    assert weights.shape == (groups, tasks)
    assert max(asked, default=0) <= LIMIT
    if type(rule).__name__ == "GradCraft":
        assert sum(asked) == groups * tasks


def _counted(solver: Callable[..., Any], asked: list[int]) -> Callable[..., Any]:
    def solve(matrices: Tensor, *args: Any, **options: Any) -> Any:
        asked.append(matrices.shape[:-2].numel())
        return solver(matrices, *args, **options)

    return solve


def test_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "SOLVED", 3)
    there = torch.empty(7, 2, 2, device="meta")
    assert [(len(a), len(b)) for a, b in for_solver(there, there[:, 0])] == [(3, 3), (3, 3), (1, 1)]
    pieces = [*for_solver(torch.ones(7, 2, 2)), *for_solver(torch.ones(0, 2, 2))]
    assert [len(piece) for (piece,) in pieces] == [7, 0]
