"""Runs a script in as many processes as it shall have ranks, as a cluster starts them."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch


def run_on_ranks(script: Path, world_size: int, *arguments: str, timeout: float = 540) -> None:
    """Runs ``python script arguments`` once per rank, with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = []
    for rank in range(world_size):
        one = {"RANK": str(rank), "LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": str(world_size)}
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        environment = {**os.environ, **(one | where if world_size > 1 else {})}
        command = [sys.executable, str(script), *arguments]
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL))
    errors = [process.communicate(timeout=timeout)[1].decode() for process in processes]
    assert all(process.returncode == 0 for process in processes), "\n".join(errors)


def saved_by_ranks(folder: Path, world_size: int) -> list[Any]:
    """What every rank saved to ``rank<n>.pt``."""
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(world_size)]
