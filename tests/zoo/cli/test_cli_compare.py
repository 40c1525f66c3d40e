"""``mtlzoo compare`` as people run it: real trainings, in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import polars as pl
import pytest
from ranks import fork

from mtlzoo.cli import main

FILE = """
data: {name: Synthetic, overrides: {rows: 600, users: 60, items: 40}}
models: [SharedBottom]
rules: [null, PCGrad]
seeds: [0, 1]
common:
  trainer.max_epochs: 1
  trainer.accelerator: cpu
  model.embedding_dim: 4
"""
THREE = FILE.replace("rules: [null, PCGrad]", "baseline: null").replace("[0, 1]", "[0, 1, 2]")
"""Three cells: every one of them starts a Python of its own."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "compare.yaml"
    path.write_text(FILE)
    return path


def begin(file: Path, out: Path, *words: str) -> BaseProcess:
    """The command; it costs no imports."""
    return fork("mtlzoo", "compare", str(file), "--out", str(out), *words, log=file.parent / f"said{len(words)}.txt")


def start(file: Path, out: Path) -> "subprocess.Popen[bytes]":
    """The command as it is typed, with all that it starts in a group of its own."""
    with (file.parent / "typed.txt").open("ab") as said:
        command = [sys.executable, "-m", "mtlzoo", "compare", str(file), "--out", str(out)]
        return subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)


def waits_for(pattern: str, folder: Path, process: "BaseProcess | subprocess.Popen[bytes]", number: int = 1) -> None:
    until = time.monotonic() + 200
    while len(list(folder.glob(pattern))) < number and time.monotonic() < until:
        status = process.exitcode if isinstance(process, BaseProcess) else process.poll()
        assert status is None, said()
        time.sleep(0.05)


def ended(process: BaseProcess, status: int) -> None:
    process.join(500)
    assert process.exitcode == status, said()


def said() -> str:
    """By the commands of a test, whose working folder it is."""
    return "\n".join(path.read_text() for path in Path.cwd().glob("*.txt"))


def test_the_whole_file_is_checked_before_anything_runs(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong, line, said in (
        ("[SharedBottom]", 3, "--model: no class or file 'SharedBotom'. Did you mean 'SharedBottom'?"),
        ("model.embedding_dim", 9, "SingleTask has no option 'embeding_dim'. Did you mean 'embedding_dim'?"),
        ("[null, PCGrad]", 4, "--trainer.callbacks.level"),
        ("trainer.max_epochs: 1", 7, "--trainer.max_epochs"),
        ("rows: 600", 2, "rows=0; allowed are whole numbers >= 1"),
    ):
        changed = {
            "[SharedBottom]": "[SharedBotom]",
            "model.embedding_dim": "model.embeding_dim",
            "[null, PCGrad]": "[null, {name: PCGrad, overrides: {level: rows}}]",
            "trainer.max_epochs: 1": "trainer.max_epochs: many",
            "rows: 600": "rows: 0",
        }[wrong]
        file.write_text(FILE.replace(wrong, changed))
        with pytest.raises(ValueError, match=f"compare.yaml:{line}: ") as error:
            main(["compare", str(file), "--out", "out"])
        assert said in str(error.value)
    assert not Path("out").exists()
    assert not capsys.readouterr().out


def test_a_dry_run_says_what_a_person_would_type(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare", str(file), "--out", "out", "--dry_run", "true"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "# 6 cells."
    assert len([line for line in lines if line.startswith("mtlzoo test ")]) == 6
    assert "--trainer.callbacks.rule=PCGrad --seed_everything=0" in "\n".join(lines)
    assert not Path("out").exists()
    fit = next(line for line in lines if line.startswith("mtlzoo fit ")).split()[1:]
    main(fit)
    test = next(line for line in lines if line.startswith("mtlzoo test ")).split()[1:]
    main(test)  # where the training put its run folder


def test_a_missing_argument_is_told() -> None:
    with pytest.raises(ValueError, match="FILE and --out DIR missing"):
        main(["compare"])


@pytest.mark.slow
def test_killed_commands_and_a_machine_that_goes_down_lose_nothing_and_nothing_is_done_twice(
    file: Path, tmp_path: Path
) -> None:
    """A cell outlives its command, and is waited for; one that goes down with its machine is taken up again."""
    file.write_text(THREE)
    out = tmp_path / "out"
    machine = start(file, out)
    killed = begin(file, out)  # and is at work before the other has imported torch
    waits_for("cells/*/log.txt", out, killed)
    (goes_on,) = out.glob("cells/*/log.txt")
    waits_for("cells/*/log.txt", out, machine, 2)
    (goes_down,) = set(out.glob("cells/*/log.txt")) - {goes_on}
    waits_for("*/version_0", goes_on.parent, killed)
    killed.kill()
    killed.join()
    last = begin(file, out, "--jobs", "2")
    waits_for("*/version_0", goes_down.parent, machine)
    os.killpg(machine.pid, signal.SIGKILL)
    machine.wait()
    assert not list(goes_down.parent.glob("*/*/results.json")), "it was killed too late to be taken up again"
    ended(last, 0)
    logs = list(out.glob("cells/*/log.txt"))
    assert [log.read_text().count("Results: ") for log in logs] == [1, 1, 1]
    assert len(list(out.glob("cells/*/*/version_*/results.json"))) == 3
    assert not list(out.glob("cells/*/failed.json"))
    board = pl.read_parquet(out / "leaderboard.parquet")
    assert set(board["name"]) == {"SharedBottom"}
    assert board["seeds"].to_list()[0] == 3
    assert {path.name for path in out.iterdir()} == {
        *("cells", "cells.csv", "compare.html", "leaderboard.csv", "leaderboard.md", "leaderboard.parquet")
    }
    results = json.loads(next(out.glob("cells/*/*/version_0/results.json")).read_bytes())
    assert results["metrics"]["test/is_click/auc"] is not None
    assert all((path.parent / "tested").is_dir() for path in out.glob("cells/*/*/version_*/results.json"))


@pytest.mark.slow
def test_what_was_asked_to_end_goes_on_where_it_was(file: Path, tmp_path: Path) -> None:
    file.write_text(THREE.replace("max_epochs: 1", "max_epochs: 8").replace("[0, 1, 2]", "[0]"))
    out = tmp_path / "out"
    first = begin(file, out)
    waits_for("cells/*/*/version_0/checkpoints/last.ckpt", out, first)
    first.terminate()
    ended(first, 143)
    assert not list(out.glob("cells/*/failed.json"))
    ended(begin(file, out), 0)
    (log,) = out.glob("cells/*/log.txt")
    assert "--ckpt_path last" in log.read_text()
    assert [path.name for path in out.glob("cells/*/*-*/*")] == ["version_0"]
