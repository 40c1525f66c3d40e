"""What several processes of one training tell each other; with one process, nothing."""

from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mtlzoo.callbacks.to_device import sent


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


def largest(numbers: Sequence[Sequence[int]], device: torch.device) -> list[list[int]]:
    """The largest that a process gives, number by number; the host waits for the device once.

    Args:
        numbers: As many in every process.
        device: Where the processes talk.
    """
    found = sent(torch.tensor(numbers, dtype=torch.int64), device)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return found.tolist()


def in_its_place(number: int) -> list[int]:
    """A number of this process's among as many zeros as there are others: `largest` makes everybody's numbers of it."""
    return [number if rank == dist.get_rank() else 0 for rank in range(world_size())]


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


def gather(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Of each of several tensors, [n, ...], those of all processes, in their order; n may differ.

    The host waits for the device once, for all lengths.
    """
    lengths = largest([in_its_place(len(tensor)) for tensor in tensors], tensors[0].device)
    return list(gather_known(tensors, lengths))


_SHARED_MESSAGE = 25 << 20
"""Bytes of a message that tensors share: as many as of DDP's buckets."""


def gather_known(tensors: Iterable[Tensor], lengths: Iterable[Sequence[int]]) -> Iterator[list[Tensor]]:
    """The same where all processes know all lengths: without a wait, and what follows each other in one message.

    Tensors are asked for, and messages sent, as what comes of them is taken: all processes must take all.

    Args:
        tensors: [n, ...]; those of one type are sent together.
        lengths: For each of them, n by process.
    """
    together: list[tuple[Tensor, Sequence[int]]] = []
    size = 0
    for tensor, its in zip(tensors, lengths, strict=True):
        more = max(its) * tensor.shape[1:].numel() * tensor.element_size()
        if together and (tensor.dtype != together[0][0].dtype or size + more > _SHARED_MESSAGE):
            yield from _gathered(together)
            together, size = [], 0
        together.append((tensor, its))
        size += more
    if together:
        yield from _gathered(together)


def _gathered(tensors: Sequence[tuple[Tensor, Sequence[int]]]) -> Iterator[list[Tensor]]:
    sizes = [[n * tensor.shape[1:].numel() for n in lengths] for tensor, lengths in tensors]
    totals = [sum(ours) for ours in zip(*sizes, strict=True)]
    flat = [tensor.reshape(-1) for tensor, _ in tensors]
    own = torch.cat([*flat, flat[0].new_zeros(max(totals) - sum(map(len, flat)))])
    every = own.new_empty(len(totals), len(own))
    if len(own):
        dist.all_gather(list(every.unbind()), own)
    rows = [row[:total].split(ours) for row, total, ours in zip(every, totals, zip(*sizes, strict=True), strict=True)]
    for (tensor, lengths), parts in zip(tensors, zip(*rows, strict=True), strict=True):
        yield [part.view(n, *tensor.shape[1:]) for part, n in zip(parts, lengths, strict=True)]


def keep_reducer_out(model: nn.Module | None) -> None:
    """Has DDP's reducer sit out the next backward passes; it would wait for gradients that never come."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        model.require_backward_grad_sync = False
