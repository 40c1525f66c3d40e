"""Adam for a rule's own few weights, without autograd: moments are buffers, so they resume and move with the rule."""

import torch
from torch import Tensor, nn

BETAS = (0.9, 0.999)
EPSILON = 1e-8


def prepare(rule: nn.Module, name: str) -> None:
    """Registers the buffers of a learned vector, empty until `allocate`."""
    for part in (name, f"{name}_first", f"{name}_second", f"{name}_steps"):
        rule.register_buffer(part, torch.zeros(0, dtype=torch.float64))


def allocate(rule: nn.Module, name: str, tasks: int, start: float) -> None:
    """Makes room for `tasks` values; keeps those of that size."""
    values = rule.get_buffer(name)
    if values.shape != (tasks,):
        setattr(rule, name, values.new_full((tasks,), start))
        for part in ("first", "second", "steps"):
            setattr(rule, f"{name}_{part}", values.new_zeros(tasks))


def step(rule: nn.Module, name: str, gradient: Tensor, active: Tensor, lr: float, weight_decay: float = 0.0) -> None:
    """One step (Kingma and Ba, ICLR 2015) of the values that are active and whose derivative is finite.

    The others rest, moments and bias correction included, as if this step had not been.

    Args:
        rule: Owner of the buffers.
        name: Of the values.
        gradient: [T], derivatives by the values.
        active: [T].
        lr: Step size.
        weight_decay: Added to the derivatives, times the values (as in `torch.optim.Adam`).
    """
    values, first, second, steps = (rule.get_buffer(name + part) for part in ("", "_first", "_second", "_steps"))
    active = active & torch.isfinite(gradient)
    gradient = gradient + weight_decay * values
    new_steps = steps + 1.0
    new_first = torch.lerp(first, gradient, 1.0 - BETAS[0])
    new_second = BETAS[1] * second + (1.0 - BETAS[1]) * gradient * gradient
    mean = new_first / (1.0 - BETAS[0] ** new_steps)
    size = (new_second / (1.0 - BETAS[1] ** new_steps)).sqrt() + EPSILON
    pairs = ((values, values - lr * mean / size), (first, new_first), (second, new_second), (steps, new_steps))
    for buffer, new in pairs:
        buffer.copy_(torch.where(active, new, buffer))
