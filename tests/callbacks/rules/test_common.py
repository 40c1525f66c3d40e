"""What rules share: eigenvalues of many matrices at once."""

import torch

from mtlzoo.callbacks.rules.common import eigh


def test_many_matrices_on_several_threads_as_few_on_one() -> None:
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
