"""Norms and cosines of gradients, from their Gramian."""

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.linalg.rounding import TINY


def norms_of(gramian: Tensor, active: Tensor) -> Tensor:
    """The norms [..., T]; 1 for a task without gradient, so that it can be divided by."""
    # The smallest squares may vanish where the Gramian was divided by its largest one.
    return torch.where(active, gramian.diagonal(dim1=-2, dim2=-1).clamp_min(TINY).sqrt(), 1.0)


def cosines_of(gramian: Tensor, active: Tensor) -> Tensor:
    """The cosines [..., T, T] of the gradients, which their scales don't touch; 0 with a task without gradient."""
    norms = norms_of(gramian, active)
    cosines = gramian / norms[..., :, None] / norms[..., None, :]
    both = active[..., :, None] & active[..., None, :]
    cosines = torch.where(both, cosines, 0.0)
    return torch.where(torch.eye(gramian.shape[-1], dtype=torch.bool, device=gramian.device), both.double(), cosines)


def unit(gramian: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines of the active tasks, the identity for the others, and norms, 1 for the others.

    Args:
        gramian: [..., T, T].
        active: [..., T].
    """
    norms = torch.where(active, gramian.diagonal(dim1=-2, dim2=-1).clamp(min=0.0).sqrt(), 1.0)
    # An active task has a positive square by construction; NaN stays NaN.
    norms = torch.where(norms == 0, 1.0, norms)
    cosines = gramian / (norms[..., :, None] * norms[..., None, :])
    both = active[..., :, None] & active[..., None, :]
    eye = torch.eye(gramian.shape[-1], dtype=torch.bool, device=gramian.device)
    return torch.where(eye, 1.0, torch.where(both, cosines, 0.0)), norms


def poison(gramian: Tensor) -> Tensor:
    """[..., 1]: 0, or NaN where the Gramian is not finite; added to a result, it keeps it from looking well."""
    return (gramian * 0.0).sum((-2, -1))[..., None]
