"""What rules share: eigenvalues of many matrices at once, and of two tasks."""

import pytest
import torch

from mtlzoo.callbacks.rules.linalg.eigen import eigh


def test_many_matrices_on_several_threads_as_few_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)  # the suite itself may run on one
    rows = torch.randn(3, 3000, 4, 6, dtype=torch.float64)
    matrices = rows @ rows.mT
    matrices[1, 7, 2, 2] = torch.nan
    matrices[2, 9, 0, 1] = matrices[2, 9, 1, 0] = torch.inf
    values, vectors = eigh(matrices)
    few = [eigh(part) for part in matrices.flatten(0, 1).split(1000)]
    torch.testing.assert_close(values.flatten(0, 1), torch.cat([one for one, _ in few]), rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(vectors.flatten(0, 1), torch.cat([one for _, one in few]), rtol=0, atol=0)
    assert values.isnan().all(-1).nonzero().tolist() == [[1, 7], [2, 9]]
    assert values.isnan().sum() == 8


@pytest.mark.parametrize("scale", [1e-140, 1e-6, 1.0, 1e6, 1e140])
@pytest.mark.parametrize("second", [1e-12, 1e-3, 1.0, 1e5])
def test_two_tasks(scale: float, second: float) -> None:
    rows = scale * torch.randn(500, 2, 3, dtype=torch.float64) * torch.tensor([[1.0], [second]], dtype=torch.float64)
    rows[0], rows[1, 0], rows[2, 1], rows[4, 1] = 0.0, 0.0, rows[2, 0], -rows[4, 0]
    rows[3] = scale * torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, -1.0]], dtype=torch.float64)
    matrices = rows @ rows.mT
    values, vectors = eigh(matrices)
    expected = torch.linalg.eigvalsh(matrices)
    largest = expected[:, 1:].clamp_min(1e-300)
    assert (values[:, 0] <= values[:, 1]).all()
    torch.testing.assert_close(values / largest, expected / largest, rtol=0, atol=1e-14)
    torch.testing.assert_close(vectors.mT @ vectors, torch.eye(2).double().expand(500, 2, 2), rtol=0, atol=1e-14)
    again = vectors @ (values[..., None] * vectors.mT)
    torch.testing.assert_close(again / largest[..., None], matrices / largest[..., None], rtol=0, atol=1e-14)
    # The small one of orthogonal gradients of very different lengths is exact, too.
    parts = torch.diag_embed((rows * rows).sum(-1))
    torch.testing.assert_close(eigh(parts)[0], parts.diagonal(dim1=1, dim2=2).sort(-1).values, rtol=1e-15, atol=0)
