"""What several processes of one training tell each other; with one process, nothing."""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn


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


_OWN_MESSAGE = 1 << 20
"""Numbers of a tensor that is worth a message of its own."""


def agree(tensors: Iterable[Tensor]) -> None:
    """Gives all processes the first one's numbers, in place."""
    if world_size() == 1:
        return
    together: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        real = torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor.detach()
        if real.numel() > _OWN_MESSAGE and real.is_contiguous():
            dist.broadcast(real, 0)
        else:
            together.setdefault(real.dtype, []).append(real)
    for some in together.values():
        whole = torch.cat([tensor.reshape(-1) for tensor in some])
        dist.broadcast(whole, 0)
        for tensor, part in zip(some, whole.split([tensor.numel() for tensor in some]), strict=True):
            tensor.copy_(part.view_as(tensor))


def send_buffers(model: nn.Module | None) -> None:
    """Has DDP send the first process's buffers with the next forward pass, as after a backward pass of its own."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        model.require_forward_param_sync = True


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


def keep_reducer_out(model: nn.Module | None) -> None:
    """Has DDP's reducer sit out the next backward passes; it would wait for gradients that never come."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        model.require_backward_grad_sync = False
