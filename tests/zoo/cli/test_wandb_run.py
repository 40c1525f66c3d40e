"""One W&B run per training, as it arrives at a server."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
import yaml
from lightning.pytorch.loggers import WandbLogger
from ranks import run_on_ranks
from wandb_backend import Run
from wandb_server import Server

from mtlzoo.cli import main
from mtlzoo.cli.wandb_run import WandbRuns, best_of

TWO_EPOCHS = ["--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "5"]
WANDB = ["--trainer.logger+=WandbLogger"]
SURGERY = ["--trainer.callbacks+=GradientSurgery", "--trainer.callbacks.rule=PCGrad", "--trainer.callbacks.level=row"]
FOLDER = Path("runs/Synthetic-MMoE-s0/version_0")
PCGRAD = Path("runs/Synthetic-MMoE-PCGrad-row-s0/version_0")


def the_run(server: Server, project: str = "mtlzoo") -> Run:
    """The only one that there is."""
    ((place, _),) = server.backend.runs
    assert place == project
    return next(iter(server.backend.runs.values()))


def arrived_as_written(run: Run, folder: Path) -> None:
    """Every number of metrics.csv and results.json is there, by its name and step, once."""
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    written = {
        name: {float(row["step"]): float(row[name]) for row in rows if row[name]} for name in rows[0] if name != "epoch"
    }
    del written["step"]
    tested = json.loads((folder / "results.json").read_text())
    assert len(tested["metrics"]) > 30
    written |= {name: {tested["step"]: value} for name, value in tested["metrics"].items()}
    assert {name: run.series[name] for name in written} == written
    counts = [name for row in run.history for name in row if name in written]
    assert len(counts) == sum(map(len, written.values()))
    assert {name: run.summary[name] for name in tested["metrics"]} == tested["metrics"]


def test_fit_and_test_are_one_run_with_every_number(wandb_server: Server, options: list[str]) -> None:
    folder = PCGRAD
    main(["fit", *options, *TWO_EPOCHS, *WANDB, *SURGERY, "--trainer.callbacks+=ConflictMonitor"])
    main(["test", "-c", str(folder / "config.yaml")])
    run = the_run(wandb_server)
    arrived_as_written(run, folder)
    assert json.loads((folder / "wandb.json").read_text()) == {"mtlzoo": run.name}
    assert (run.state, run.said["jobType"], run.said["groupName"]) == ("finished", "fit", "Synthetic")
    assert run.said["tags"] == ["MMoE", "PCGrad"]
    name = "Synthetic-MMoE-PCGrad-row-s0 embedding_dim=4 experts=2 rows=3000 users=100 batch_size=256"
    assert run.said["displayName"] == f"{name} table_weight_decay=0.008 averaging=0.998"[:128]
    flat = {"model_name": "MMoE", "data_name": "Synthetic", "rule_name": "PCGrad", "level": "row", "seed": 0}
    flat |= {
        "contender": "MMoE + PCGrad row",
        "rule_options": "row",
        "model.lr": 0.001,
        "model.experts": 2,
        "data.rows": 3000,
    }
    assert flat.items() <= run.options.items()
    assert run.options["data_fingerprint"].startswith("Synthetic-")
    assert run.options["model"]["class_path"] == "mtlzoo.MMoE"
    validated = {name: series for name, series in run.by("epoch").items() if name.startswith("val/")}
    assert all(list(series) == [0, 1] for series in validated.values())
    assert run.summary["val/auc_mean"] == max(validated["val/auc_mean"].values())
    assert run.summary["val/logloss_mean"] == min(validated["val/logloss_mean"].values())
    axes = {metric.get("2") or metric["1"]: metric.get("5") for metric in run.config["_wandb"]["value"]["m"]}
    named = [metric.get("1") for metric in run.config["_wandb"]["value"]["m"]]
    assert named[axes["val/*"] - 1] == "epoch"
    assert named[axes["*"] - 1] == "trainer/global_step"
    content = wandb_server.backend.content
    assert content(f"config-{run.name}") == {"config.yaml": (folder / "config.yaml").read_bytes()}
    assert content(f"results-{run.name}") == {"results.json": (folder / "results.json").read_bytes()}
    (pictures,) = run.summary["surgery/conflicts"]["filenames"]
    assert wandb_server.backend.stored[f"/files/mtlzoo/{run.name}/{pictures}"].startswith(b"\x89PNG")
    table = wandb_server.backend.stored[f"/files/mtlzoo/{run.name}/{run.summary['surgery/conflict_table']['path']}"]
    with (folder / "conflicts.csv").open() as file:
        assert [[str(cell) for cell in row] for row in json.loads(table)["data"]] == list(csv.reader(file))[1:]


@pytest.mark.slow
def test_a_resumed_run_goes_on_and_knows_its_best(wandb_server: Server, options: list[str]) -> None:
    main(["fit", *options, *WANDB, *SURGERY, "--trainer.max_epochs", "2"])
    first = the_run(wandb_server)
    before, best = len(first.history), first.summary["val/auc_mean"]
    again = ["--trainer.max_epochs", "4", "--patience", "9"]
    main(["fit", "-c", str(PCGRAD / "config.yaml"), "--ckpt_path", "last", *again])
    main(["validate", "-c", str(PCGRAD / "config.yaml")])
    main(["test", "-c", str(PCGRAD / "config.yaml")])
    run = the_run(wandb_server)
    assert run is first
    assert len(run.history) > before
    scores = run.by("epoch")["val/auc_mean"]
    assert list(scores) == [0, 1, 2, 3]
    assert run.summary["val/auc_mean"] == best == max(scores.values())
    assert run.options["trainer"]["max_epochs"] == 4
    assert run.said["jobType"] == "fit"
    assert "test/auc_mean" in run.summary


@pytest.mark.slow
def test_four_processes_make_one_run(wandb_server: Server, options: list[str]) -> None:
    ranks = ["--trainer.devices", "4", "--trainer.strategy", "ddp"]
    run_on_ranks("mtlzoo", 4, "fit", *options, *WANDB, *ranks, "--trainer.max_epochs", "1")
    main(["test", "-c", str(FOLDER / "config.yaml"), "--trainer.devices", "1", "--trainer.strategy", "auto"])
    arrived_as_written(the_run(wandb_server), FOLDER)


@pytest.mark.slow
def test_an_offline_run_is_synced(wandb_server: Server, options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    main(["fit", *options, *TWO_EPOCHS, *WANDB])
    main(["test", "-c", str(FOLDER / "config.yaml")])
    wandb.teardown()
    assert not wandb_server.backend.runs
    monkeypatch.setenv("WANDB_MODE", "online")
    for part in sorted(FOLDER.glob("wandb/offline-run-*")):
        sync = [sys.executable, "-m", "wandb", "sync", str(part)]
        done = subprocess.run(sync, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
    arrived_as_written(the_run(wandb_server), FOLDER)


@pytest.mark.slow
def test_the_best_weights_are_an_artifact_where_asked_for(wandb_server: Server, options: list[str]) -> None:
    asked = ["--trainer.logger.log_model", "true", "--trainer.logger.project", "mine"]
    main(["fit", *options, *WANDB, *asked, "--trainer.max_epochs", "1"])
    ((_, weights),) = wandb_server.backend.content(f"model-{the_run(wandb_server, 'mine').name}").items()
    assert weights == (FOLDER / "checkpoints/best.ckpt").read_bytes()
    assert "state_dict" in torch.load(io.BytesIO(weights), weights_only=True)


@pytest.mark.slow
def test_a_run_that_fails_says_so(wandb_server: Server, options: list[str]) -> None:
    with pytest.raises(FloatingPointError):
        main(["fit", *options, *WANDB, "--model.lr", "1e30", "--trainer.max_epochs", "1"])
    assert the_run(wandb_server).state == "failed"
    assert wandb.run is None


def test_wandb_may_be_switched_off(options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    wandb.teardown()  # a session keeps the mode that it began with
    monkeypatch.setenv("WANDB_MODE", "disabled")
    main(["fit", *options, *WANDB, "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"])
    main(["test", "-c", str(FOLDER / "config.yaml")])
    wandb.teardown()
    assert not (FOLDER / "wandb.json").exists()
    assert (FOLDER / "results.json").is_file()


WAYS = {"flag": WANDB, "config": ["-c", "configs/logger/wandb.yaml"]}


@pytest.mark.parametrize("way", WAYS)
def test_both_ways_to_ask_for_it_lead_to_the_same_place(way: str, options: list[str], tmp_path: Path) -> None:
    main(["fit", *options, *WAYS[way], "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"])
    assert list(json.loads((FOLDER / "wandb.json").read_text())) == ["mtlzoo"]
    assert len(list((tmp_path / FOLDER).glob("wandb/offline-run-*/*.wandb"))) == 1
    kept = yaml.safe_load((FOLDER / "config.yaml").read_text())["trainer"]["logger"][0]["init_args"]
    assert (kept["project"], kept["name"], kept["id"]) == (None, None, None)


def directed(folder: Path, **said: Any) -> dict[str, Any]:
    """Settings of a run for which this was said."""
    logger = WandbLogger(**said)
    summary = {"run_name": "Synthetic-MMoE-s0", "changed": "", "data_name": "S", "model_name": "M", "rule_name": "A+B"}
    summary["rule_options"] = ""
    WandbRuns([logger], folder, "test", summary)
    return dict(logger._wandb_init)


def test_what_was_said_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"name": "n", "group": "g", "job_type": "j", "tags": ["t"], "project": "p", "id": "i"}
    found = directed(tmp_path, **said, save_dir="elsewhere")
    assert said.items() <= found.items()
    assert found["dir"] == "elsewhere"
    ours = directed(tmp_path)
    assert (ours["project"], ours["dir"], ours["group"], ours["job_type"]) == ("mtlzoo", str(tmp_path), "S", "test")
    assert (ours["tags"], ours["name"], ours["id"], ours["resume"]) == (
        ["M", "A", "B"],
        "Synthetic-MMoE-s0",
        None,
        "allow",
    )
    (tmp_path / "wandb.json").write_text('{"mtlzoo": "abc"}')
    assert directed(tmp_path)["id"] == "abc"
    assert "job_type" not in directed(tmp_path)
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    assert (directed(tmp_path)["project"], directed(tmp_path)["id"]) == ("theirs", None)


def test_the_best_of_every_validation(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(
        "epoch,step,train/loss,val/a/auc,val/a/logloss,val/a/calibration,val/b/auc\n"
        "0,4,1.5,,,,\n0,9,,0.5,0.25,0.9,\n1,19,,0.75,0.5,1.5,nan\n2,29,,0.625,0.375,1.25,\n"
    )
    assert best_of(path) == {"val/a/auc": 0.75, "val/a/logloss": 0.25, "val/a/calibration": 1.25}
