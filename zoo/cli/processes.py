"""What a command over several processes leaves behind."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist

TOLD = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
"""Environment that Lightning sets for the processes it starts."""


@contextmanager
def ended_with_command() -> Iterator[None]:
    """Ends the group of processes that a command began, so that the next one in this process can begin its own.

    Lightning leaves the group open and its environment set. After an error they stay: others may be waiting.
    """
    group = dist.is_available() and dist.is_initialized()
    before = {name: os.environ.get(name) for name in TOLD}
    yield
    if not group and dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})
