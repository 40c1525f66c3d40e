"""Points of the simplex of the tasks that take part."""

import torch
from torch import Tensor


def project_on_simplex(values: Tensor, active: Tensor) -> Tensor:
    """The nearest point of the simplex of the active tasks: [..., T], 0 elsewhere (all of it 0 where none is)."""
    ordered = torch.where(active, values, -torch.inf).sort(-1, descending=True).values
    finite = ordered > -torch.inf
    counts = torch.arange(1, values.shape[-1] + 1, dtype=values.dtype, device=values.device)
    excess = _running_sums(torch.where(finite, ordered, 0.0)) - 1.0
    inside = finite & (ordered * counts > excess)
    last = inside.sum(-1, keepdim=True).clamp(min=1)
    shift = excess.gather(-1, last - 1) / last
    return torch.where(active, (values - shift).clamp(min=0.0), 0.0)


def _running_sums(values: Tensor) -> Tensor:
    """The sums [..., T] from the first to each."""
    if values.device.type == "cpu":
        return values.cumsum(-1)
    # A GPU's `cumsum` may add in another order in every run, and is refused by trainers that are deterministic.
    return values @ values.new_ones(values.shape[-1], values.shape[-1]).triu()


def masked_softmax(logits: Tensor, active: Tensor) -> Tensor:
    """Softmax over the active tasks, 0 for the others (for all, where none is)."""
    # A finite stand-in: of -inf only, the softmax would be NaN.
    shares = torch.where(active, logits, torch.finfo(logits.dtype).min).softmax(-1)
    return torch.where(active, shares, 0.0)
