"""Runs a script in as many processes as it shall have ranks, as a cluster starts them.

The processes are forked from one that has imported what they all need: what a rank costs is its work, and not the
seconds that importing torch and Lightning takes. They share nothing else; each is as new as ``python script`` is.
"""

import multiprocessing
import os
import runpy
import socket
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(["lightning", "mtlzoo.module", "mtlzoo.callbacks", "mtlzoo.datamodules"])


def run_on_ranks(script: Path, world_size: int, *arguments: str, timeout: float = 540) -> None:
    """Runs ``python script arguments`` once per rank, with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with TemporaryDirectory() as folder:
        processes = []
        for rank in range(world_size):
            one = {"RANK": str(rank), "LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": str(world_size)}
            where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            environment = {**os.environ, **(one | where if world_size > 1 else {})}
            log = Path(folder) / f"rank{rank}.log"
            processes.append(_FORKED.Process(target=_run, args=(script, arguments, environment, log)))
            processes[-1].start()
        for process in processes:
            process.join(timeout)
            process.kill()  # one that hangs; nothing happens to one that is done
            process.join()
        logs = [log.read_text() for log in sorted(Path(folder).iterdir())]
    assert all(process.exitcode == 0 for process in processes), "\n".join(logs)


def _run(script: Path, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """What ``python script arguments`` does, in a process that is forked for it."""
    os.environ.clear()
    os.environ.update(environment)
    for stream, path in ((1, Path(os.devnull)), (2, log)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, stream)
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))
    try:
        runpy.run_path(str(script), run_name="__main__")
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()


def saved_by_ranks(folder: Path, world_size: int) -> list[Any]:
    """What every rank saved to ``rank<n>.pt``."""
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(world_size)]
