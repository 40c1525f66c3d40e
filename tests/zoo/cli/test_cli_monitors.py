"""Monitors from the command line, and runs with them that go on."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import yaml

Run = Callable[..., str]
MONITORS = [
    *("--trainer.callbacks+=GateMonitor", "--trainer.callbacks.every_n_steps", "4"),
    "--trainer.callbacks+=mtlzoo.callbacks.EmbeddingMonitor",
]


def test_a_run_with_monitors_goes_on_from_each_of_its_checkpoints(options: list[str], run: Run) -> None:
    run("fit", *options, *MONITORS, "--trainer.max_epochs", "2", "--checkpoint_every", "7", "--patience", "null")
    folder = Path("runs/Synthetic-MMoE-s0/version_0")
    files = ("gates.csv", "embeddings.csv", "metrics.csv")
    wanted = {name: (folder / name).read_text() for name in files}
    gates = pl.read_csv(folder / "gates.csv")
    assert gates["task"].unique(maintain_order=True).to_list() == ["is_click", "long_view", "is_like"]
    assert gates["step"].unique(maintain_order=True).to_list() == [3, 7, 11, 15, 19]
    assert pl.read_csv(folder / "embeddings.csv")["step"].unique(maintain_order=True).to_list() == [0, 9, 19]
    logged = pl.read_csv(folder / "metrics.csv").columns
    assert {"gates/experts/is_like/1", "gates/experts/is_like/entropy", "embeddings/user_id/collapse"} <= set(logged)
    config = str(folder / "config.yaml")
    shutil.copy(folder / "checkpoints/best.ckpt", "best.ckpt")
    for checkpoint in ("best", "last"):
        run("fit", "-c", config, "--ckpt_path", checkpoint)
        assert {name: (folder / name).read_text() for name in files} == wanted
    callbacks = yaml.safe_load(Path(config).read_text())["trainer"]["callbacks"]
    assert [callback["class_path"].rpartition(".")[2] for callback in callbacks] == ["GateMonitor", "EmbeddingMonitor"]


def test_a_run_that_is_cut_within_an_epoch_goes_on(options: list[str], run: Run) -> None:
    fit = ["fit", *options, *MONITORS, "--trainer.max_epochs", "2"]
    run(*fit)
    run(*fit, "--trainer.max_steps", "6")
    whole, cut = (Path(f"runs/Synthetic-MMoE-s0/version_{k}") for k in (0, 1))
    run("fit", "-c", f"{cut}/config.yaml", "--ckpt_path", "last", "--trainer.max_steps", "-1")
    for name in ("gates.csv", "embeddings.csv"):
        assert (cut / name).read_text() == (whole / name).read_text()
    assert (cut / "gates.png").read_bytes() == (whole / "gates.png").read_bytes()


def test_a_model_without_gates_is_left_in_peace(options: list[str], run: Run, data_options: list[str]) -> None:
    run("fit", "--model", "SharedBottom", *data_options, *MONITORS, "--trainer.max_epochs", "1")
    folder = Path("runs/Synthetic-SharedBottom-s0/version_0")
    assert not (folder / "gates.csv").exists()
    assert (folder / "embeddings.csv").is_file()


def test_modules_can_be_named(options: list[str], run: Run) -> None:
    words = ["--trainer.callbacks+=GateMonitor", "--trainer.callbacks.modules", "[gates.0, gates.2]"]
    run("fit", *options, *words, "--trainer.max_epochs", "1")
    table = pl.read_csv(Path("runs/Synthetic-MMoE-s0/version_0/gates.csv"))
    assert table.select("layer", "task").unique(maintain_order=True).rows() == [
        ("gates", "is_click"),
        ("gates", "is_like"),
    ]


@pytest.mark.parametrize("words", [["--trainer.callbacks.every_n_steps", "0"]])
def test_what_is_refused_is_said(options: list[str], run: Run, words: list[str]) -> None:
    assert "every_n_steps=0; allowed" in run("fit", *options, "--trainer.callbacks+=GateMonitor", *words, code=2)


PAGE = (Path(__file__).resolve().parents[3] / "docs/monitors.md").read_text(encoding="utf-8")


@pytest.mark.every_case
@pytest.mark.parametrize("command", re.findall(r"^mtlzoo (.+)$", PAGE, re.MULTILINE))
def test_commands_of_the_page_do_what_its_table_says(data_options: list[str], run: Run, command: str) -> None:
    small = [*data_options[2:], "--trainer.max_epochs", "1"]
    run(*command.split(), *small)
    (folder,) = Path("runs").glob("*/version_0")
    logged = set(pl.read_csv(folder / "metrics.csv").columns)
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.*?) ?\| .+ \|$", PAGE, re.MULTILINE)
    assert len(rows) == 4
    for callback, metrics, files in rows:
        if callback in command:
            for name in re.findall(r"`(.+?)`", metrics):
                pattern = re.sub(r"<\w+>", r"[\\w.]+", name)
                assert any(re.fullmatch(pattern, metric) for metric in logged), name
            assert all((folder / name).is_file() for name in re.findall(r"`(.+?)`", files))
