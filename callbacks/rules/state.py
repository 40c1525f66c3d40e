"""The state of the groups that are there: out of the buffer of all groups, and back."""

import torch
from torch import Tensor, nn


def read_state(rule: nn.Module, state: Tensor, leading: torch.Size, tasks: int, groups: Tensor | None) -> Tensor:
    """The state [groups, tasks, ...] at the places `groups`, all of them for None, as [*leading, tasks, ...].

    Raises:
        ValueError: `allocate` was not called, or for other sizes.
    """
    count = leading.numel() if groups is None else state.shape[0]
    if state.dim() < 2 or state.shape[0] != count or state.shape[1] != tasks:
        raise ValueError(
            f"{type(rule).__name__} has a state of the shape {tuple(state.shape)} [groups, tasks, ...], and was called "
            f"with {leading.numel()} groups of {tasks} tasks: call allocate(groups, tasks) with the number of all "
            f"groups before the first call, and pass groups= where only some are there."
        )
    return state.reshape(*leading, *state.shape[1:]) if groups is None else state[groups]


def write_state(state: Tensor, old: Tensor, values: Tensor, groups: Tensor | None) -> None:
    """Puts `values` where `read_state` took `old`; what is not finite stays old, so one bad step does not last."""
    values = torch.where(values.isfinite(), values, old)
    if groups is None:
        state.copy_(values.reshape(state.shape))
    else:
        state[groups] = values
