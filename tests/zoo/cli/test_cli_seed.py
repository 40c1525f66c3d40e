"""`--seed_everything` is the one seed of a run: of its weights, its draws and the order of its rows."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mtlzoo.cli.fit import ZooCLI

Run = Callable[..., str]


def order(*words: str) -> int:
    cli = ZooCLI(["fit", *words, "--trainer.max_epochs", "0"])
    return cli.datamodule.order_seed


@pytest.mark.parametrize(
    ("words", "seed"),
    [
        ([], 0),
        (["--seed_everything", "3"], 3),
        (["--seed_everything", "3", "--data.shuffle_seed", "5"], 5),
        (["--seed_everything", "3", "--data.shuffle_seed", "0"], 0),
        (["--seed_everything", "false"], 0),
    ],
)
@pytest.mark.every_case
def test_the_order_follows_the_seed(options: list[str], words: list[str], seed: int) -> None:
    order(*options, "--seed_everything", "9")  # what a command leaves in the process is not for the next
    assert order(*options, *words) == seed


def test_a_config_repeats_a_run_with_its_seed_or_another(options: list[str], run: Run) -> None:
    run("fit", *options, "--seed_everything", "3", "--trainer.max_epochs", "1")
    folder = Path("runs/Synthetic-MMoE-s3/version_0")
    written = yaml.safe_load((folder / "config.yaml").read_text())
    assert (written["seed_everything"], written["data"]["init_args"]["shuffle_seed"]) == (3, None)
    assert order("-c", str(folder / "config.yaml")) == 3
    assert order("-c", str(folder / "config.yaml"), "--seed_everything", "5") == 5


@pytest.mark.parametrize("words", [[], ["--seed_everything", "5"]])
@pytest.mark.every_case
def test_a_resumed_run_keeps_its_order(options: list[str], run: Run, words: list[str]) -> None:
    fit = ["--seed_everything", "3", "--trainer.max_epochs"]
    run("fit", *options, *fit, "2")
    run("fit", *options, *fit, "1")
    whole, cut = (Path(f"runs/Synthetic-MMoE-s3/version_{k}") for k in (0, 1))
    run("fit", "-c", f"{cut}/config.yaml", *words, "--ckpt_path", "last", "--trainer.max_epochs", "2")
    assert (cut / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()


def test_the_order_is_no_change_of_the_data(options: list[str], run: Run) -> None:
    """Runs that differ by it are repetitions; configs of former versions all hold one."""
    run("fit", *options, "--data.shuffle_seed", "0", "--trainer.max_epochs", "1")
    folder = Path("runs/Synthetic-MMoE-s0/version_0")
    run("test", "-c", f"{folder}/config.yaml", "--ckpt_path", "best")
    changed = json.loads((folder / "results.json").read_text())["changed"]
    assert "rows=3000" in changed
    assert "shuffle_seed" not in changed
