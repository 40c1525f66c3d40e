"""The toy data of `train_script.py`, for tests in this process too, and scripts run by several processes."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).with_name("train_script.py")


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    """`train_script` as a module: SCHEMA, columns, InMemory."""
    path = Path(__file__).with_name("train_script.py")
    spec = importlib.util.spec_from_file_location("mtlzoo_train_script", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def run() -> Callable[..., list[dict[str, Any]]]:
    """Runs a script of this folder once per rank."""
    return _run


def _run(folder: Path, world_size: int, options: dict[str, Any], script: Path = SCRIPT) -> list[dict[str, Any]]:
    """What every rank saved."""
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = []
    for rank in range(world_size):
        one = {"RANK": str(rank), "LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": str(world_size)}
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        environment = {**os.environ, **(one | where if world_size > 1 else {})}
        command = [sys.executable, str(script), str(folder), json.dumps(options)]
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL))
    errors = [process.communicate(timeout=240)[1].decode() for process in processes]
    assert all(process.returncode == 0 for process in processes), "\n".join(errors)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(world_size)]
