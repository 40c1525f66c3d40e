"""Sweeps: W&B's own agent starts our command as it stands."""

import json
import os
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb.wandb_agent import Agent, run_agent
from wandb_server import Server

from mtlzoo.cli import main
from mtlzoo.compare.cells import CellFolder
from mtlzoo.compare.wandb_sweep import start_sweep, sweep_of

SMALL = ["--data.rows=1000", "--data.users=50", "--trainer.max_epochs=1", "--data.batch_size=256"]
CELL = ["--model=SharedBottom", "--model.bottom_units=[8]", "--data=Synthetic", "--data.rows=1000", "--data.users=50"]
CELL += ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.logger+=WandbLogger", "--seed_everything=3"]


pytestmark = pytest.mark.filterwarnings("ignore:Read the `app_url` setting:DeprecationWarning")  # wandb 0.31 itself


@pytest.fixture
def agent(wandb_server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What ``wandb agent`` does, with less waiting; ``mtlzoo`` is that of this environment."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setattr(Agent, "POLL_INTERVAL", 0.2)
    return run_agent


@pytest.mark.slow
def test_the_shipped_sweep_ends(wandb_server: Server, agent: Callable[[str], None]) -> None:
    """Of its two learning rates one, as each run is a process that imports torch."""
    sweep = yaml.safe_load((Path(str(files("mtlzoo.configs"))) / "sweep/demo.yaml").read_text())
    assert sweep["parameters"]["model.lr"]["values"].pop() == 0.01
    sweep["command"] = [*sweep["command"], *SMALL]
    agent(start_sweep(sweep, "mtlzoo", "team"))
    (found,) = wandb_server.backend.sweeps.values()
    assert (found["state"], found["left"]) == ("FINISHED", [])
    runs = list(wandb_server.backend.runs.values())
    assert {(run.options["model_name"], run.options["model.lr"]) for run in runs} == {
        ("SharedBottom", 0.001),
        ("MMoE", 0.001),
    }
    for run in runs:
        assert (run.state, run.said["sweep"]) == ("finished", found["name"])
        assert "val/auc_mean" in run.summary


@pytest.mark.slow
def test_cells_of_a_comparison_run_as_a_sweep(
    wandb_server: Server, agent: Callable[[str], None], tmp_path: Path
) -> None:
    cell = CellFolder(tmp_path / "cells/Synthetic-SharedBottom-s3-abc")
    cell.write(CELL)
    path = start_sweep(sweep_of([cell.path], "mine"), "mtlzoo", "team")
    agent(path)
    record = cell.record("results.json")
    assert record is not None
    (run,) = wandb_server.backend.runs.values()
    assert {name: run.summary[name] for name in record["metrics"]} == record["metrics"]
    assert run.said["sweep"] == path.rpartition("/")[2]
    assert run.options["cell"] == str(cell.path)


def test_a_command_is_words_of_ours(tmp_path: Path) -> None:
    sweep: dict[str, Any] = sweep_of([tmp_path / "a", tmp_path / "b"], "mine")
    assert json.loads(json.dumps(sweep))["parameters"] == {"cell": {"values": [f"{tmp_path}/a", f"{tmp_path}/b"]}}
    assert sweep["command"] == ["${env}", "mtlzoo", "compare", "${args}"]
    with pytest.raises(FileNotFoundError, match=r"a/cell\.json"):
        main(["compare", f"--cell={tmp_path}/a"])
    with pytest.raises(ValueError, match="nothing to sweep over"):
        sweep_of([], "mine")
