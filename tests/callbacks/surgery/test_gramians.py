"""Gramians of gradients of any length and shape: exact in float64, in blocks."""

import pytest
import torch

from mtlzoo.callbacks.surgery.gramians import gramian, write_gramians


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("columns", [0, 1, 511, 512, 1000, 2**15 - 1, 2**15, 2**15 + 1, 300_000])
def test_gramian(columns: int, dtype: torch.dtype) -> None:
    matrix = torch.randn(8, columns, dtype=torch.float64).to(dtype)
    exact = matrix.double()
    pairs = torch.stack([(row * exact).sum(-1) for row in exact])
    for tasks in (1, 2, 5, 8):
        some = matrix[:tasks]
        ways: dict[str, torch.Tensor | list[torch.Tensor]] = {
            "matrix": some,
            "rows": list(some),
            "rows of their own": [row.clone() for row in some],
            "columns": some.T.contiguous().T,
        }
        for way, rows in ways.items():
            found = gramian(rows)
            assert found.dtype == torch.float64
            same(found, pairs[:tasks, :tasks], 1e-13 * max(columns, 1) ** 0.5, f"{tasks} tasks, {way}")


def same(found: torch.Tensor, expected: torch.Tensor, atol: float, case: str) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=atol, msg=lambda text: f"{case}: {text}")


@pytest.mark.parametrize("shape", [(4096, 3, 64), (5, 70_000), (1, 1), (3, 0), (0, 4)])
def test_gramian_of_parts_of_larger_tensors(shape: tuple[int, ...]) -> None:
    rows = [torch.randn(2, *shape).transpose(0, 1)[:, 1] for _ in range(3)]
    flat = torch.stack([row.reshape(-1) for row in rows]).double()
    torch.testing.assert_close(gramian(rows), flat @ flat.T, rtol=1e-13, atol=1e-11)


@pytest.mark.parametrize("groups", [0, 1, 2, 5000])
@pytest.mark.parametrize("tasks", [1, 3, 8])
def test_gramians_of_groups(tasks: int, groups: int) -> None:
    part = torch.randn(tasks, groups * 9 + 4)[:, 4:]
    gramians = torch.full((groups, tasks, tasks), torch.nan, dtype=torch.float64)
    write_gramians(part, gramians)
    rows = part.double().reshape(tasks, groups, -1 if groups else 9).transpose(0, 1)
    torch.testing.assert_close(gramians, rows @ rows.mT, rtol=1e-13, atol=1e-13)
