"""A preparation that is killed at any moment is never used, and of several at once one works."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Imports once, then forks a fresh process per command, so that there is time for many kills.
SERVER = """
import os, signal, sys, time
from pathlib import Path
import numpy as np, polars as pl
from mtlzoo.datamodules.columns import CategoricalColumn, Label, NumericColumn, RandomSplit, Recipe, SequenceColumn
from mtlzoo.datamodules.prepare import prepare

recipe = Recipe(
    columns=(CategoricalColumn("user"), SequenceColumn("tags", 3), NumericColumn("age")),
    labels=(Label("click"),), split=RandomSplit(0.2, 0.2), ids=("user",),
)

def read(folder):
    with open(folder + "-reads", "a") as file:
        file.write("read\\n")
    for seed in range(3):
        random, rows = np.random.default_rng(seed), 100_000
        yield pl.DataFrame({
            "user": random.integers(0, 10_000, rows), "click": random.integers(0, 2, rows),
            "tags": pl.Series(random.integers(0, 9, rows)).cast(pl.String) + ",7", "age": random.normal(size=rows),
        })

def start(folder):
    child = os.fork()
    if not child:
        code = 1
        try:
            prepare(recipe, lambda: read(folder), Path(folder), name="Killed")
            code = 0
        finally:
            os._exit(code)
    return child

for line in sys.stdin:
    folder, processes, kill_after = line.split()
    began = time.monotonic()
    children = [start(folder) for _ in range(int(processes))]
    if kill_after != "never":
        time.sleep(float(kill_after))
        os.kill(children[0], signal.SIGKILL)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    print(round(time.monotonic() - began, 3), *codes, flush=True)
"""


class Server:
    """Runs preparations in processes of their own and kills them on request."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, "-c", SERVER], stdin=pipe, stdout=pipe, text=True)

    def run(self, folder: Path, processes: int = 1, kill_after: float | None = None) -> tuple[float, list[int]]:
        """Seconds it took, and the exit code of each process (-9: killed)."""
        assert self.process.stdin
        assert self.process.stdout
        print(folder, processes, "never" if kill_after is None else kill_after, file=self.process.stdin, flush=True)
        seconds, *codes = self.process.stdout.readline().split()
        return float(seconds), [int(code) for code in codes]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.process.communicate()
    assert server.process.returncode == 0


def columns(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.npy")}


@pytest.mark.slow
def test_killed_at_any_moment_nothing_half_written_is_used(server: Server, tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    server.run(tmp_path / "warm")
    seconds, codes = server.run(whole)
    assert codes == [0]
    killed = 0
    for step in range(1, 8):
        codes = server.run(folder, kill_after=seconds * step / 7)[1]
        killed += codes == [-9]
        if folder.exists():  # then it is whole
            break
    assert killed >= 3
    assert server.run(folder)[1] == [0]
    assert columns(folder) == columns(whole)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_of_three_at_once_one_reads(server: Server, tmp_path: Path) -> None:
    assert server.run(tmp_path / "x", processes=3)[1] == [0, 0, 0]
    assert (tmp_path / "x-reads").read_text() == "read\n"


@pytest.mark.slow
def test_the_waiting_take_over_from_a_killed_one(server: Server, tmp_path: Path) -> None:
    seconds, _ = server.run(tmp_path / "warm")
    codes = server.run(tmp_path / "x", processes=3, kill_after=seconds / 3)[1]
    assert codes in ([-9, 0, 0], [0, 0, 0])  # the killed one may have been done, or one of those that waited
    assert columns(tmp_path / "x") == columns(tmp_path / "warm")
    assert not list(tmp_path.glob(".*"))
