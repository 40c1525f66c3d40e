"""Gramians of rows of any length: exact in float64, in blocks."""

import pytest
import torch

from mtlzoo.callbacks.combine import gramian


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("columns", [0, 1, 1000, 2**15 - 1, 2**15, 2**15 + 1, 100_000])
@pytest.mark.parametrize("tasks", [1, 2, 5, 8])
def test_gramian(tasks: int, columns: int, dtype: torch.dtype) -> None:
    matrix = torch.randn(tasks, columns, dtype=torch.float64).to(dtype)
    pairs = (matrix.double()[:, None] * matrix.double()).sum(-1)
    for rows in (matrix, list(matrix), [row.clone() for row in matrix], matrix.T.contiguous().T):
        found = gramian(rows)
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, pairs, rtol=1e-13, atol=1e-13 * max(columns, 1) ** 0.5)
