"""Other people's modules with surgery on two processes: the same everywhere, and as one process on the whole batch."""

import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("foreign_ddp_script.py")
NAMED = "{}: {}".format


def run(folder: Path, world_size: int) -> list[dict[str, dict[str, torch.Tensor]]]:
    """What every rank ends with."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = []
    for rank in range(world_size):
        one = {"RANK": str(rank), "LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": str(world_size)}
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        environment = {**os.environ, **(one | where if world_size > 1 else {})}
        command = [sys.executable, str(SCRIPT), str(folder)]
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL))
    errors = [process.communicate(timeout=300)[1].decode() for process in processes]
    assert all(process.returncode == 0 for process in processes), "\n".join(errors)
    return [torch.load(folder / f"{world_size}-{rank}.pt", weights_only=True) for rank in range(world_size)]


@pytest.mark.slow
def test_processes_have_the_same_and_what_one_has(tmp_path: Path) -> None:
    first, second = run(tmp_path, 2)
    (alone,) = run(tmp_path, 1)
    for case, ends in first.items():
        for name, value in ends.items():
            # The last step's own statistics are sent with the next forward pass, or the validation after the epoch.
            torch.testing.assert_close(second[case][name], value, rtol=0, atol=0, msg=partial(NAMED, f"{case} {name}"))
            if case in ("a loss alone", "two vectors"):
                torch.testing.assert_close(
                    alone[case][name], value, rtol=1e-9, atol=1e-11, msg=partial(NAMED, f"{case} {name}, one process")
                )
