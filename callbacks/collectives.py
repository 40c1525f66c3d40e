"""What several processes of one training tell each other; with one process, nothing."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of processes of this training."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def mean(values: Tensor) -> Tensor:
    """The mean of a tensor over the processes."""
    if world_size() > 1:
        values = values.clone()
        dist.all_reduce(values)
        values /= world_size()
    return values


def agree(tensors: Sequence[Tensor]) -> None:
    """Gives all processes the numbers of the first one, in place: what each made of the same must be the same bits."""
    if world_size() == 1:
        return
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
        by_type.setdefault(real.dtype, []).append(real)
    for some in by_type.values():
        whole = torch.cat([tensor.reshape(-1) for tensor in some])
        dist.broadcast(whole, 0)
        for tensor, part in zip(some, whole.split([tensor.numel() for tensor in some]), strict=True):
            tensor.copy_(part.view_as(tensor))


def gather(mine: Tensor) -> list[Tensor]:
    """[n, ...] of every process, in their order; n may differ."""
    size = torch.tensor([len(mine)], device=mine.device)
    sizes = [torch.zeros_like(size) for _ in range(world_size())]
    dist.all_gather(sizes, size)
    lengths = [int(size) for size in sizes]
    padded = mine.new_zeros(max(lengths), *mine.shape[1:])
    padded[: len(mine)] = mine
    gathered = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(gathered, padded)
    return [part[:length] for part, length in zip(gathered, lengths, strict=True)]
