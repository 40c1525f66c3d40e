"""What a training, a test and a prediction leave behind."""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
import yaml

import mtlzoo
from fixtures.kuairand import write_kuairand
from mtlzoo.cli import main
from mtlzoo.cli.fit import ZooCLI
from mtlzoo.datamodules import Synthetic

TASKS = ("is_click", "long_view", "is_like")
Run = Callable[..., str]
Read = Callable[[Path], Any]


def test_a_run_folder_holds_config_metrics_and_checkpoints(trained: Path, read: Read) -> None:
    files = {str(path.relative_to(trained)) for path in trained.rglob("*") if path.is_file()}
    assert {"config.yaml", "metrics.csv", "fit.json", "checkpoints/best.ckpt", "checkpoints/last.ckpt"} <= files
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["model"]["class_path"] == "mtlzoo.MMoE"
    assert config["model"]["init_args"]["experts"] == 2
    assert config["data"]["init_args"]["rows"] == 3000
    assert config["seed_everything"] == 0
    with (trained / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["step"]) for row in rows if row["val/auc_mean"]] == [("0", "9"), ("1", "19")]
    assert {f"val/{task}/auc" for task in TASKS} <= set(rows[0])
    fit = read(trained / "fit.json")
    assert fit["epochs"] == 2
    assert fit["steps"] == 20
    assert fit["seconds"] > 0
    assert fit["best"] == pytest.approx(max(float(row["val/auc_mean"]) for row in rows if row["val/auc_mean"]))


def test_test_prints_a_table_and_writes_results_into_the_folder_of_the_run(trained: Path, run: Run, read: Read) -> None:
    printed = run("test", "-c", str(trained / "config.yaml"), "--ckpt_path", str(trained / "checkpoints/best.ckpt"))
    assert all(task in printed for task in (*TASKS, "mean", "logloss", "gauc"))
    assert max(map(len, printed[: printed.index("Results:")].splitlines())) <= 80
    results = read(trained / "results.json")
    assert f"{results['metrics']['test/is_click/auc']:.4f}" in printed
    assert {f"test/{task}/{metric}" for task in TASKS for metric in ("auc", "logloss")} <= set(results["metrics"])
    assert {results["model"], results["data"], results["rule"], results["seed"]} == {"MMoE", "Synthetic", "sum", 0}
    assert results["rows"] == {"train": 2400, "val": 300, "test": 300}
    assert results["data_fingerprint"].startswith("Synthetic-")
    assert results["seconds"]["fit"] > 0
    assert results["seconds"]["test"] > 0
    assert results["versions"]["torch"] == torch.__version__
    assert results["config"]["model"]["init_args"]["experts"] == 2
    model = mtlzoo.load(trained / "checkpoints/best.ckpt")
    assert sum(results["parameters"].values()) == sum(p.numel() for p in model.parameters())
    # Only the checkpoint was needed, and no folder was made beside that of the run.
    assert [path.name for path in trained.parent.iterdir()] == ["version_0"]


def test_the_best_checkpoint_scores_what_training_said(trained: Path, read: Read) -> None:
    cli = ZooCLI(["validate", "-c", str(trained / "config.yaml"), "--ckpt_path", "best"])
    assert float(cli.trainer.callback_metrics["val/auc_mean"]) == pytest.approx(read(trained / "fit.json")["best"])


@pytest.mark.parametrize("where", ["config", "newest"])
def test_best_is_found_without_its_path(
    trained: Path, options: list[str], tmp_path: Path, run: Run, read: Read, where: str
) -> None:
    """By the config of the run, and by the name of model, data and seed; the newest run counts."""
    root = tmp_path / "runs"
    first = shutil.copytree(trained, root / trained.parent.name / "version_2")
    newest = shutil.copytree(trained, root / trained.parent.name / "version_10")
    if where == "config":
        run("test", "-c", str(first / "config.yaml"))
        expected = first
    else:
        run("test", *options, "--trainer.default_root_dir", str(root), "--ckpt_path", "best")
        expected = newest
    assert read(expected / "results.json")["checkpoint"] == str(expected / "checkpoints/best.ckpt")


def test_a_checkpoint_outside_of_a_run_gets_a_new_folder(trained: Path, options: list[str], run: Run) -> None:
    shutil.copy(trained / "checkpoints/best.ckpt", "alone.ckpt")
    run("test", *options, "--ckpt_path", "alone.ckpt")
    assert Path("runs/Synthetic-MMoE-s0/version_0/results.json").is_file()


def test_the_same_command_twice_makes_two_runs(options: list[str], run: Run) -> None:
    for _ in range(2):
        run("fit", *options, "--trainer.max_steps", "1", "--trainer.limit_val_batches", "1")
    assert {path.name for path in Path("runs/Synthetic-MMoE-s0").iterdir()} == {"version_0", "version_1"}


def test_training_and_test_repeat_from_the_seed(trained: Path, options: list[str], run: Run) -> None:
    run("fit", *options, "--trainer.max_epochs", "2")
    again = torch.load("runs/Synthetic-MMoE-s0/version_0/checkpoints/last.ckpt", weights_only=True)
    first = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)
    for name, weight in first["state_dict"].items():
        assert torch.equal(weight, again["state_dict"][name]), name


def test_predictions_are_those_of_the_model_with_the_ids_of_the_rows(trained: Path, shared: Path, run: Run) -> None:
    run("predict", "-c", str(trained / "config.yaml"), "--ckpt_path", "best")
    table = pl.read_parquet(trained / "predictions" / "*.parquet").sort("row")
    assert table.columns == ["user_id", "video_id", "day", "row", *TASKS]
    data = Synthetic(3000, users=100, batch_size=256, prepared=shared / "prepared")
    assert table["row"].to_list() == list(range(300))
    assert table.select("user_id", "video_id", "day").equals(data.data["test"].ids())
    model = mtlzoo.load(trained / "checkpoints/best.ckpt")
    with torch.no_grad():
        batches = [model.predict_step(batch, i) for i, batch in enumerate(data.test_dataloader())]
    for task in TASKS:
        expected = torch.cat([batch[task] for batch in batches])
        torch.testing.assert_close(torch.tensor(table[task].to_list()), expected)


def test_the_model_can_come_from_the_checkpoint(trained: Path, data_options: list[str], run: Run) -> None:
    with_model = run("test", "-c", str(trained / "config.yaml"))
    without = run("test", *data_options, "--ckpt_path", str(trained / "checkpoints/best.ckpt"))
    table = [line for line in with_model.splitlines() if "is_click" in line]
    assert table
    assert table == [line for line in without.splitlines() if "is_click" in line]


@pytest.mark.slow
@pytest.mark.parametrize(("patience", "epochs"), [("1", 2), ("null", 4)])
def test_patience(options: list[str], run: Run, read: Read, patience: str, epochs: int) -> None:
    """Nothing improves at a rate of 0."""
    run("fit", *options, "--model.lr", "0", "--trainer.max_epochs", "4", "--patience", patience)
    assert read(Path("runs/Synthetic-MMoE-s0/version_0/fit.json"))["epochs"] == epochs


@pytest.mark.parametrize(
    "words", [["--trainer.barebones", "true"], ["--trainer.callbacks+=RichProgressBar", "--data.eval_batch_size", "99"]]
)
def test_what_needs_another_of_our_defaults_gets_it(options: list[str], run: Run, words: list[str]) -> None:
    run("fit", *options, "--trainer.max_epochs", "1", *words)


def test_without_a_logger_and_without_validation(options: list[str], run: Run) -> None:
    run("fit", *options, "--trainer.logger", "false", "--trainer.limit_val_batches", "0", "--trainer.max_epochs", "1")
    folder = Path("runs/Synthetic-MMoE-s0/version_0")
    files = {path.name for path in folder.iterdir()}
    assert files == {".lock", "config.yaml", "fit.json", "checkpoints", "encoding"}
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["last.ckpt"]


def test_lines_of_a_log_file_are_short_and_plain(
    options: list[str], run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    printed = run("fit", *options, "--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "5")
    printed += caplog.text
    assert "\x1b" not in printed
    assert "\r" not in printed
    lines = [line for line in printed.splitlines() if re.search(r"\bepoch \d  step \d", line)]
    assert len(lines) == 2
    assert all(f"val/{task}/auc" in line for task in TASKS for line in lines)
    assert all("train/loss" in line for line in lines)
    assert "Tip" not in printed


def test_prepare_says_rows_rates_and_folder(data_options: list[str], shared: Path, run: Run) -> None:
    printed = run("prepare", *data_options[:-2])
    assert "2,400" in printed
    assert all(task in printed for task in TASKS)
    assert str(shared / "prepared") in printed
    Path("experiment.yaml").write_text("seed_everything: 3\nmodel: {class_path: MMoE}\ntrainer: {max_epochs: 1}\n")
    assert "2,400" in run("prepare", "-c", "experiment.yaml", *data_options[:-2])


def test_prepare_takes_the_config_of_a_run(trained: Path, run: Run) -> None:
    """All of it, whatever options a training has."""
    assert "2,400" in run("prepare", "-c", str(trained / "config.yaml"))


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from mtlzoo.cli import main; main(['--help']); main(['--version']);"
        "heavy = {'torch', 'lightning', 'polars', 'pandas', 'wandb', 'jsonargparse'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert all(command in done.stdout for command in ("fit", "validate", "test", "predict", "prepare"))
    assert mtlzoo.__version__ in done.stdout


@pytest.mark.slow
def test_as_a_user_types_it(trained: Path, tmp_path: Path) -> None:
    """The real command; `python -m mtlzoo` is typed in test_cli_signals.py."""
    folder = tmp_path / "runs/Synthetic-MMoE-s0/version_0"
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("results.json"))  # of other tests
    command = [str(Path(sys.executable).with_name("mtlzoo")), "test", "-c", f"{folder}/config.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "is_click" in done.stdout
    assert 0 < json.loads((folder / "results.json").read_text())["metrics"]["test/is_click/auc"] < 1


def test_main_reads_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["mtlzoo", "--version"])
    main()
    assert capsys.readouterr().out == f"mtlzoo {mtlzoo.__version__}\n"


@pytest.mark.slow
def test_a_random_log_is_tested_with_the_model_of_the_standard_log(run: Run, read: Read, tmp_path: Path) -> None:
    """Other data files, the same vocabularies; predictions are of the rows that were tested."""
    write_kuairand(tmp_path / "raw", random_log=True)
    words = ["--data", "KuaiRand", "--data.root", str(tmp_path / "raw"), "--trainer.accelerator", "cpu"]
    run("fit", "--model", "SharedBottom", *words, "--trainer.max_epochs", "1")
    folder = Path("runs/KuaiRand-SharedBottom-s0/version_0")
    words += ["--model", "SharedBottom", "--data.random_log", "true"]
    run("test", *words)
    rows = read(folder / "results.json")["rows"]
    assert rows["random"] > 0
    assert rows["random"] != rows["test"]
    run("predict", *words)
    assert pl.read_parquet(folder / "predictions").height == rows["random"]


@pytest.mark.slow
def test_a_class_of_somebody_else_by_its_path(
    data_options: list[str], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs.py").write_text(
        "from typing import Any\n"
        "from mtlzoo import SharedBottom\n"
        "from mtlzoo.module import Schema\n"
        "class Narrow(SharedBottom):\n"
        "    def __init__(self, schema: Schema, *, width: int = 4, **base: Any) -> None:\n"
        "        super().__init__(schema, bottom_units=(width,), **base)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    run("fit", "--model", "theirs.Narrow", "--model.width", "6", "--model.lr", "0.01", *data_options)
    folder = Path("runs/Synthetic-Narrow-s0/version_0")
    run("test", "-c", str(folder / "config.yaml"))
    assert (folder / "results.json").is_file()
    loaded = mtlzoo.load(folder / "checkpoints/best.ckpt")
    assert type(loaded).__name__ == "Narrow"
    assert loaded.lr == 0.01
