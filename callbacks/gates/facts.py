"""What gates say of their experts: facts of one output that add up over steps, and the means that they give."""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from mtlzoo.callbacks.gates.names import GateNames

DEAD = 0.1
"""An expert is dead where every gate gives it less than this share of what it had if all experts had the same."""


def facts_of_output(weights: Tensor) -> Tensor:
    """What one call of a gate adds to the sums: the experts' weights, the entropy as a share of its most, the rows.

    Args:
        weights: [..., E], E >= 2.

    Returns:
        [E + 2], float64.
    """
    experts = weights.shape[-1]
    rows = weights.detach().reshape(-1, experts)
    rows = rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
    entropy = torch.special.entr(rows).sum(dtype=torch.float64) / math.log(experts)
    sums = rows.sum(0, dtype=torch.float64)
    return torch.cat([sums, entropy.reshape(1), sums.new_full((1,), len(rows))])


class GateMeans:
    """Means of one gate on the host; NaN where it weighed no row.

    Args:
        names: What the gate is called; with as many experts as it has, or none.
        sums: Of `facts_of_output`, over some rows.
    """

    def __init__(self, names: GateNames, sums: Sequence[float]) -> None:
        *weights, entropy, rows = sums
        self.layer, self.task = names.layer, names.task
        self.experts = list(names.experts) or [str(place) for place in range(len(weights))]
        self.rows = rows
        self.weights = [weight / rows if rows else math.nan for weight in weights]
        self.entropy = entropy / rows if rows else math.nan


def means_of(gates: Mapping[str, GateNames], sizes: Iterable[int], sums: Tensor) -> list[GateMeans]:
    """Means of all gates, of their sums one after the other."""
    parts = sums.cpu().split(list(sizes))
    return [GateMeans(names, part.tolist()) for names, part in zip(gates.values(), parts, strict=True)]


def dead_experts(means: Sequence[GateMeans]) -> list[tuple[str, str]]:
    """Layers and names of the experts that no gate of their layer weighs: see `DEAD`."""
    shares: dict[tuple[str, str], list[float]] = {}
    for gate in means:
        for expert, weight in zip(gate.experts, gate.weights, strict=True):
            shares.setdefault((gate.layer, expert), []).append(weight * len(gate.weights))
    return [expert for expert, found in shares.items() if all(share < DEAD for share in found)]
