"""Gradients by touched row, of all tables at once, are those of autograd."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlzoo.callbacks.surgery.combine import spread
from mtlzoo.callbacks.surgery.graph import read
from mtlzoo.callbacks.surgery.task_gradients import TaskGradients


class Tables(nn.Module):
    """Tables of several heights and widths: looked up once, twice, in bags, padded, scaled, by some tasks only."""

    def __init__(self, sparse: bool) -> None:
        super().__init__()
        heights = (50, 3, 700, 1, 20, 20, 9)
        self.tables = nn.ParameterList(torch.randn(height, 4, dtype=torch.float64) for height in heights)
        self.narrow = nn.Parameter(torch.randn(30, 2, dtype=torch.float64))
        self.sparse = sparse

    def forward(self) -> list[Tensor]:
        a, b, c, d, e, f, g = self.tables
        ids = torch.randint(0, 50, (8, 5))
        read_once = F.embedding(ids, a, sparse=self.sparse)
        padded = F.embedding(ids % 3, b, padding_idx=1, sparse=self.sparse)
        twice = F.embedding(ids * 7, c, sparse=self.sparse) * F.embedding(ids * 13, c, sparse=self.sparse)
        single = F.embedding(ids * 0, d, sparse=self.sparse)
        bags = F.embedding_bag(ids.reshape(-1) % 20, e, torch.tensor([0, 3, 3, 9]), mode="mean", sparse=self.sparse)
        largest = F.embedding_bag(ids % 20, f, mode="max")
        counted = F.embedding(ids % 9, g, scale_grad_by_freq=True)
        narrow = F.embedding(ids % 30, self.narrow, sparse=self.sparse)
        first = (read_once * single * counted).sin().sum() + (bags**2).sum() + (largest**3).sum()
        second = (read_once * padded).cos().sum() + twice.sum() + narrow.sum() + (largest**2).sum()
        third = (padded + single).tanh().sum() + (bags**3).sum() + (narrow**2).sum()
        return [first, second, third]


@pytest.mark.parametrize("sparse", [False, True])
def test_rows_of_all_tables_at_once(sparse: bool) -> None:
    module = Tables(sparse)
    parameters = list(module.parameters())
    losses = module()
    expected = [torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True) for loss in losses]
    gradients = TaskGradients()
    gradients.collect(read(torch.stack(losses)), parameters)
    for number, parameter in enumerate(parameters):
        entry = gradients.of[parameter]
        (rows,) = entry.rows
        assert rows.index.tolist() == sorted(set(rows.index.tolist()))
        for task, row in enumerate(expected):
            wanted = row[number]
            assert (task in rows.values) == (wanted is not None) == bool(entry.tasks >> task & 1)
            if wanted is not None:
                found = spread(parameter, entry, rows.values[task]).to_dense()
                torch.testing.assert_close(found, wanted.to_dense(), rtol=1e-13, atol=1e-13)
