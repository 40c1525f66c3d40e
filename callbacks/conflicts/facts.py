"""What Gramians say about conflict: facts of one step that add up over steps, and the means that they give."""

import torch
from torch import Tensor


def facts_of_step(gramians: Tensor, weights: Tensor) -> Tensor:
    """What one step adds to the sums: four squares by pair of tasks, three lines by task.

    Args:
        gramians: [G, T, T] in float64, of groups that together are all shared parameters.
        weights: [G, T], what the rule gave for them.

    Returns:
        [4T + 3, T]; zeros for a step whose gradients are not finite.
    """
    total = gramians.sum(0)
    squares = gramians.diagonal(dim1=1, dim2=2)
    square = total.diagonal()
    active, present = square > 0, (squares > 0).double()
    norm = square.sqrt()
    pairs = (active[:, None] & active).double()
    cosine = total / torch.where(active, norm, 1.0) / torch.where(active, norm, 1.0)[:, None]
    kept = (weights.double() * squares).sum(0) / torch.where(active, square, 1.0)
    lines = torch.stack([norm, kept * active, active.double()])
    facts = torch.cat([cosine.clamp(-1.0, 1.0) * pairs, pairs, (gramians < 0).sum(0), present.T @ present, lines])
    return torch.where(facts.isfinite().all() & total.isfinite().all(), facts, 0.0)


class ConflictMeans:
    """Means on the host; NaN where nothing counted.

    Args:
        sums: Of `facts_of_step`, over some steps.
    """

    def __init__(self, sums: Tensor) -> None:
        cosine, pairs, conflict, groups, (norm, weight, count) = sums.cpu().split([*[sums.shape[-1]] * 4, 3])
        self.cosine: list[list[float]] = (cosine / pairs).tolist()
        self.conflict: list[list[float]] = (conflict / groups).tolist()
        self.norm: list[float] = (norm / count).tolist()
        self.weight: list[float] = (weight / count).tolist()
