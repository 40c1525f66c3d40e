"""The nearest point of the simplex, and shares of those who take part."""

import torch

from mtlzoo.callbacks.rules.linalg.simplex import masked_softmax, project_on_simplex

F64 = torch.float64


def test_projection_on_the_simplex() -> None:
    values = torch.tensor([[0.2, 0.9, 5.0], [-3.0, -4.0, 0.0], [1.0, 1.0, 1.0]], dtype=F64)
    active = torch.tensor([[True, True, False], [True, True, True], [False, False, False]])
    expected = torch.tensor([[0.15, 0.85, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]], dtype=F64)
    torch.testing.assert_close(project_on_simplex(values, active), expected)


def test_softmax_of_those_who_take_part() -> None:
    logits = torch.tensor([[0.0, 1.0, 5.0], [0.0, 1.0, 5.0]], dtype=F64)
    active = torch.tensor([[True, True, False], [False, False, False]])
    expected = torch.cat([logits[0, :2].softmax(0), torch.zeros(4, dtype=F64)]).view(2, 3)
    torch.testing.assert_close(masked_softmax(logits, active), expected)
