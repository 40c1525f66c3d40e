"""Fair weights against the equation that they solve."""

import pytest
import torch
from jacobians import Gramians, norms, products

from mtlzoo.callbacks.rules.linalg.newton import fair_weights


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("tasks", [2, 4, 8])
def test_fair_weights_solve_their_equation(tasks: int, power: float) -> None:
    case = Gramians(tasks)
    w = fair_weights(case.g, case.active, power)
    case.hold(w.isfinite())
    case.hold(w > 0)
    length = torch.where(case.active, norms(case.g), 1.0)
    # In unit gradients, with the ridge: both sides, beside the rounding of the left one.
    y = w * length
    left = products(case.g, torch.where(case.active, w, 0.0)) / length + 1e-13 * y
    right = w**-power / length
    size = torch.where(case.active, y, 0.0).sum(-1, keepdim=True)
    case.hold(((left - right).abs() <= 1e-8 * right + 1e-14 * size) | ~case.active)
