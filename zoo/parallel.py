"""What several processes must agree on: means, sparse gradients, random numbers. With one process all is as it was."""

from collections.abc import Iterable

import torch
from torch import Tensor

from mtlzoo.callbacks.collectives import gather, world_size
from mtlzoo.optim import coalesce


def mean_sparse_gradients(tables: Iterable[Tensor]) -> None:
    """Replaces every sparse gradient by its mean over the processes; only touched rows travel.

    DDP's own reducer makes them dense or (NCCL) refuses them.
    """
    if world_size() == 1:
        return
    for table in tables:
        if table.grad is None:
            raise RuntimeError(
                "A sparse table took part in no lookup of this step; the processes would wait for its gradient."
            )
        own = coalesce(table.grad)
        rows = torch.cat(gather(own._indices()[0]))
        values = torch.cat(gather(own._values())) / world_size()
        table.grad = torch.sparse_coo_tensor(rows.unsqueeze(0), values, table.shape, check_invariants=False)


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
    return {name: [part.cpu() for part in gather(state.to(device))] for name, state in states.items()}


def restore_random_states(states: dict[str, list[Tensor]], device: torch.device, rank: int) -> None:
    """Continues the random numbers of a checkpoint; nothing happens where another number of processes wrote it."""
    if len(states["cpu"]) != world_size():
        return
    torch.set_rng_state(states["cpu"][rank].cpu())
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"][rank].cpu(), device)
