"""What counts as rounding."""

import torch

EPS = torch.finfo(torch.float64).eps
TINY = torch.finfo(torch.float64).tiny


def tolerance(tasks: int) -> float:
    """Below this part of the largest one, eigenvalues of a Gramian are the rounding of its entries."""
    return 256 * tasks * EPS


def noise(tasks: int) -> float:
    """What counts as the rounding of numbers near 1 that were made from T of their kind."""
    return 8 * tasks * EPS
