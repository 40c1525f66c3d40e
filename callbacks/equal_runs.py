"""Runs of equal numbers in a sorted list, found without a wait of the host for how many there are."""

import torch
from torch import Tensor


def firsts(ordered: Tensor) -> Tensor:
    """Which of sorted numbers, [n], are the first of their run: bool [n]."""
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return first


def starts(first: Tensor, runs: int | None = None) -> Tensor:
    """Where runs start, ascending.

    Args:
        first: What is the first of its run, bool [n].
        runs: How many there are, where the host knows. If not, it looks on a CPU; on a GPU, where it would have to
            wait, n stands in for the number, and places past the last run are n: bags that start there are empty.

    Returns:
        int64, one for each run.
    """
    if first.device.type == "cpu":
        return first.nonzero().squeeze(1)
    runs = len(first) if runs is None else runs
    places = torch.arange(len(first), device=first.device)
    found = torch.full((runs + 1,), len(first), device=first.device)
    # What starts no run goes to a place at the end that is cut off.
    return found.scatter_(0, torch.where(first, first.cumsum(0) - 1, runs), places)[:runs]
