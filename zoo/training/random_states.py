"""The random numbers of a training that goes on: where torch's generators are, in every process."""

import torch
from torch import Tensor

from mtlzoo.callbacks.collectives import gather, world_size


def random_states(device: torch.device) -> dict[str, list[Tensor]]:
    """State of torch's generators in every process, on the CPU: called by all of them at once.

    Args:
        device: Where the processes compute; their collectives run there.
    """
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if world_size() == 1:
        return {name: [state] for name, state in states.items()}
    every = gather([state.to(device) for state in states.values()])
    # Copies: of a part of a larger tensor torch would read the beginning of the whole.
    return {name: [part.cpu().clone() for part in parts] for name, parts in zip(states, every, strict=True)}


def restore_random_states(states: dict[str, list[Tensor]], device: torch.device, rank: int) -> None:
    """Continues the random numbers of a checkpoint; nothing happens where another number of processes wrote it."""
    if len(states["cpu"]) != world_size():
        return
    torch.set_rng_state(states["cpu"][rank].cpu())
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"][rank].cpu(), device)
