"""GradDrop: its signs, its leak, its draws."""

import pytest
import torch
from saved import saved_and_loaded

from mtlzoo.callbacks.rules.graddrop import GradDrop, drop


def test_graddrop() -> None:
    gradients = torch.tensor([[1.0, -1.0, 0.0, 2.0], [3.0, 1.0, 0.0, -1.0]])
    uniform = torch.tensor([0.9, 0.4, 0.5, 0.9])
    # Purities 1, 1/2, 1/2 (untouched), 2/3.
    assert drop(gradients, uniform, torch.zeros(2)).tolist() == [4.0, 1.0, 0.0, -1.0]
    assert drop(gradients, uniform, torch.tensor([0.5, 0.0])).tolist() == [4.0, 0.5, 0.0, 0.0]
    rule = GradDrop(seed=5)
    wide = torch.randn(3, 4, 50)
    first = rule(wide)
    assert first.shape == (4, 50)
    assert not torch.equal(first, rule(wide))
    resumed = saved_and_loaded(rule, GradDrop())
    assert torch.equal(resumed(wide), rule(wide))
    assert torch.equal(GradDrop(1.0)(wide), wide.sum(0))


def test_arguments() -> None:
    with pytest.raises(ValueError, match="is not possible; allowed: "):
        GradDrop(1.5)
    with pytest.raises(ValueError, match="is not possible; allowed: "):
        GradDrop([])
    with pytest.raises(ValueError, match="2 numbers in leak for 3 tasks"):
        GradDrop([0.1, 0.2])(torch.ones(3, 2))
