"""One small training that many tests look at."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtlzoo.cli import main

MODEL = ["--model", "MMoE", "--model.embedding_dim", "4", "--model.experts", "2", "--model.expert_units", "[8]"]
DATA = ["--data", "Synthetic", "--data.rows", "3000", "--data.users", "100", "--data.batch_size", "256"]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data and the run that `trained` made; both are only read."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="session")
def options(shared: Path) -> list[str]:
    """A small model on small data, on the CPU: 10 batches an epoch."""
    return [*MODEL, *DATA, "--data.prepared", str(shared / "prepared"), "--trainer.accelerator", "cpu"]


@pytest.fixture(scope="session")
def data_options(options: list[str]) -> list[str]:
    """`options` without the model."""
    return options[len(MODEL) :]


@pytest.fixture(scope="session")
def trained(shared: Path, options: list[str]) -> Path:
    """The run folder of two epochs."""
    root = shared / "runs"
    main(["fit", *options, "--trainer.max_epochs", "2", "--trainer.default_root_dir", str(root)])
    return root / "Synthetic-MMoE-s0" / "version_0"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command and returns what it printed on both streams, whether it succeeded or ended with `code`."""

    def call(*words: str, code: int | None = None) -> str:
        capsys.readouterr()
        if code is None:
            main(list(words))
        else:
            with pytest.raises(SystemExit) as ended:
                main(list(words))
            assert ended.value.code == code
        captured = capsys.readouterr()
        return captured.out + captured.err

    return call


@pytest.fixture
def read() -> Callable[[Path], Any]:
    """A JSON file."""
    return lambda path: json.loads(path.read_text())
