"""Runs a script, or ``mtlzoo``, in as many processes as it shall have ranks, as a cluster starts them.

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
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(["lightning", "mtlzoo.cli.fit", "mtlzoo.callbacks", "mtlzoo.datamodules"])


def run_on_ranks(program: Path | str, world_size: int, *arguments: str, timeout: float = 540) -> None:
    """Runs ``python script arguments`` once per rank, with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.

    A program that is no path is the name of a module, as in ``python -m mtlzoo arguments``.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with TemporaryDirectory() as folder:
        processes = []
        for rank in range(world_size):
            one = {"RANK": str(rank), "LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": str(world_size)}
            where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            log = Path(folder) / f"rank{rank}.log"
            processes.append(fork(program, *arguments, log=log, environment=one | where if world_size > 1 else {}))
        running = [process.sentinel for process in processes]
        while running and not any(process.exitcode for process in processes):
            done = wait(running, timeout)
            running = [one for one in running if one not in done] if done else []
        for process in processes:
            process.kill()  # one that hangs, or waits for one that failed; nothing happens to one that is done
            process.join()
        logs = [log.read_text() for log in sorted(Path(folder).iterdir())]
    assert all(process.exitcode == 0 for process in processes), "\n".join(logs)


def fork(program: Path | str, *arguments: str, log: Path, environment: Mapping[str, str] | None = None) -> BaseProcess:
    """A process that does what ``python program arguments`` does in this folder; it writes errors to a file."""
    variables = {**os.environ, **(environment or {})}
    process = _FORKED.Process(target=_run, args=(program, arguments, Path.cwd(), variables, log))
    process.start()
    return process


def _run(
    program: Path | str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for stream, path in ((1, Path(os.devnull)), (2, log)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, stream)
    rank_zero_only.rank = int(environment.get("RANK", "0"))  # type: ignore[attr-defined]  # read at its import
    sys.argv = [str(program), *arguments]
    try:
        if isinstance(program, Path):
            sys.path.insert(0, str(program.parent))
            runpy.run_path(str(program), run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except Exception:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()


def saved_by_ranks(folder: Path, world_size: int) -> list[Any]:
    """What every rank saved to ``rank<n>.pt``."""
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(world_size)]
