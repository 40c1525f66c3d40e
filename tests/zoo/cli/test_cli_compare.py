"""``mtlzoo compare`` as people run it: real trainings, in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

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
COMMAND = [sys.executable, "-m", "mtlzoo", "compare"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "compare.yaml"
    path.write_text(FILE)
    return path


def start(file: Path, out: Path, *words: str) -> "subprocess.Popen[bytes]":
    with (file.parent / "said.txt").open("ab") as said:
        command = [*COMMAND, str(file), "--out", str(out), *words]
        return subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)


def waits_for(pattern: str, folder: Path, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 200
    while not list(folder.glob(pattern)) and time.monotonic() < until:
        assert process.poll() is None, (folder.parent / "said.txt").read_text()
        time.sleep(0.05)


def counts(out: Path) -> Counter[str]:
    """How often each cell was trained from the start, and tested."""
    found: Counter[str] = Counter()
    for log in out.glob("cells/*/log.txt"):
        text = log.read_text()
        found[f"{log.parent.name} results"] = text.count("Results: ")
    return found


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
def test_killed_and_run_again_nothing_is_lost_or_done_twice(file: Path, tmp_path: Path) -> None:
    """The command is killed with a cell at work, which goes on; the next one waits for it and does the rest."""
    file.write_text(THREE)
    out = tmp_path / "out"
    first = start(file, out, "--jobs", "1")
    waits_for("cells/*/*/version_0/results.json", out, first)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    again = start(file, out, "--jobs", "2")
    assert again.wait(500) == 0, (tmp_path / "said.txt").read_text()
    assert counts(out) == {f"{path.name} results": 1 for path in out.glob("cells/*")}
    assert len(list(out.glob("cells/*/*/version_*/results.json"))) == 3
    board = pl.read_parquet(out / "leaderboard.parquet")
    assert set(board["name"]) == {"SharedBottom"}
    assert board["seeds"].to_list()[0] == 3
    assert {path.name for path in out.iterdir()} == {
        *("cells", "cells.csv", "compare.html", "leaderboard.csv", "leaderboard.md", "leaderboard.parquet")
    }
    results = json.loads(next(out.glob("cells/*/*/version_0/results.json")).read_bytes())
    assert results["metrics"]["test/is_click/auc"] is not None
    assert all((path.parent / "tested").is_dir() for path in out.glob("cells/*/*/version_0/results.json"))


@pytest.mark.slow
def test_three_at_once_share_the_cells_and_survive_one(file: Path, tmp_path: Path) -> None:
    """One of them is killed with everything it started, as when a machine goes down."""
    file.write_text(THREE)
    out = tmp_path / "out"
    three = [start(file, out) for _ in range(3)]
    waits_for("cells/*/log.txt", out, three[0])
    time.sleep(5)
    os.killpg(three[0].pid, signal.SIGKILL)
    three[0].wait()
    for process in three[1:]:
        assert process.wait(500) == 0, (tmp_path / "said.txt").read_text()
    assert counts(out) == {f"{path.name} results": 1 for path in out.glob("cells/*")}
    assert len(list(out.glob("cells/*/*/version_*/results.json"))) == 3
    assert not list(out.glob("cells/*/failed.json"))


@pytest.mark.slow
def test_what_was_asked_to_end_goes_on_where_it_was(file: Path, tmp_path: Path) -> None:
    file.write_text(
        FILE.replace("max_epochs: 1", "max_epochs: 8").replace("seeds: [0, 1]", "seeds: [0]\nbaseline: null")
    )
    out = tmp_path / "out"
    first = start(file, out, "--jobs", "2")
    waits_for("cells/*/*/version_0/checkpoints/last.ckpt", out, first)
    os.kill(first.pid, signal.SIGTERM)
    assert first.wait(100) == 143
    assert not list(out.glob("cells/*/failed.json"))
    again = start(file, out, "--jobs", "2")
    assert again.wait(500) == 0, (tmp_path / "said.txt").read_text()
    logs = [path.read_text() for path in out.glob("cells/*/log.txt")]
    assert len(logs) == 2
    assert any("--ckpt_path last" in log for log in logs)
    assert all((path / "version_0").is_dir() and not (path / "version_1").exists() for path in out.glob("cells/*/*-*"))
