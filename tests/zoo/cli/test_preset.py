"""Presets: what nobody says is as it was found good on the data set; what somebody says comes first."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.kuairand import write_kuairand
from mtlzoo.cli import main
from mtlzoo.cli.preset import preset

KUAIRAND = preset("KuaiRand", "SharedBottom")


def fit(caplog: pytest.LogCaptureFixture, *words: str) -> tuple[dict[str, Any], str]:
    """config.yaml of a training of one step, and the line that tells of a preset."""
    caplog.set_level("INFO")
    quick = ["--trainer.max_steps", "1", "--trainer.limit_val_batches", "0", "--trainer.accelerator", "cpu"]
    main(["fit", "--data", "KuaiRand", "--data.root", "raw", *quick, *words])
    (config,) = Path("runs").rglob("config.yaml")
    return yaml.safe_load(config.read_text()), next((x for x in caplog.messages if x.startswith("Preset")), "")


def set_in(config: dict[str, Any]) -> dict[str, Any]:
    """The options of the preset as a run had them."""
    parts = {part: config[part]["init_args"] for part in ("model", "data")} | {"trainer": config["trainer"]}
    return {name: parts[name.partition(".")[0]][name.partition(".")[2]] for name in KUAIRAND}


@pytest.fixture(autouse=True)
def raw() -> None:
    write_kuairand(Path("raw"), "pure")


def test_fills_what_nobody_said(caplog: pytest.LogCaptureFixture) -> None:
    config, line = fit(caplog, "--model", "SharedBottom")
    assert set_in(config) == KUAIRAND
    assert all(f"{name} {value}" in line for name, value in KUAIRAND.items())


def test_what_somebody_said_comes_first(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Also where it is the default, and where a config says it."""
    Path("own.yaml").write_text("data: {class_path: KuaiRand, init_args: {batch_size: 77}}\n")
    config, line = fit(caplog, "--model", "SharedBottom", "--model.averaging", "0", "-c", "own.yaml")
    assert set_in(config) == {**KUAIRAND, "model.averaging": 0.0, "data.batch_size": 77}
    assert "averaging" not in line
    assert "batch_size" not in line


def test_none_and_a_run_again(caplog: pytest.LogCaptureFixture) -> None:
    config, line = fit(caplog, "--model", "SharedBottom", "--preset", "none")
    assert config["model"]["init_args"]["averaging"] == 0
    assert not line
    main(["fit", "-c", str(next(Path("runs").rglob("config.yaml")))])
    assert "Preset" not in caplog.text


def test_an_average_of_somebody_stays_alone(caplog: pytest.LogCaptureFixture) -> None:
    config, _ = fit(caplog, "--model", "SharedBottom", "--trainer.callbacks+=EMAWeightAveraging")
    assert config["model"]["init_args"]["averaging"] == 0


def test_data_without_one() -> None:
    assert preset("TabularDataModule", "MMoE") == {}
