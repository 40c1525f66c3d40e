"""Gradients of complex parameters as the real numbers that they are made of.

The inner product of two of them is Re(g^H h), that of their real and imaginary parts side by side. So they are taken
apart where they come from autograd, and put together where they go to ``.grad``; all between works on real numbers.
"""

import torch
from torch import Tensor


def real(gradient: Tensor) -> Tensor:
    """The gradient itself or, of a complex one, its parts: [..., 2]."""
    return torch.view_as_real(gradient.resolve_conj()) if gradient.is_complex() else gradient


def zeros(parameter: Tensor) -> Tensor:
    """The gradient of a task that does not reach a parameter, as `real` gives it."""
    return real(torch.zeros_like(parameter))


def restore(parameter: Tensor, gradient: Tensor) -> Tensor:
    """The gradient in the shape and kind of its parameter, from the numbers that `real` gave."""
    if not parameter.is_complex():
        return gradient.view_as(parameter)
    return torch.view_as_complex(gradient.reshape(*parameter.shape, 2))


def width(table: Tensor) -> int:
    """Real numbers of a row."""
    return table.shape[1] * (2 if table.is_complex() else 1)
