"""Batches for a GPU: data that fit live there and are cut there; others are built and pinned one batch ahead."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

SHARE = 4
"""Columns that take at most one part in so many of a device's free memory are kept there."""


def kept_on(device: torch.device, columns: Mapping[str, Tensor]) -> bool:
    """Whether columns fit on a device beside what a training needs there.

    Args:
        device: Where the model trains.
        columns: Of a split, by batch key.
    """
    return sum(column.nbytes for column in columns.values()) * SHARE <= free_memory(device)


def free_memory(device: torch.device) -> int:
    """Bytes of its own that a device has left; 0 where its memory is the host's."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def ahead(batches: Iterator[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    """Builds and pins the next batch in a thread while the device works on this one."""

    def build() -> dict[str, Tensor] | None:
        batch = next(batches, None)
        return batch and {name: column.pin_memory() for name, column in batch.items()}

    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(build)
        while batch := coming.result():
            coming = thread.submit(build)
            yield batch
