"""The exported folder that tests of this folder serve."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from mtlzoo.cli import main


@pytest.fixture(scope="package")
def served(answering: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the network as ONNX."""
    folder = tmp_path_factory.mktemp("served") / "exported"
    config = str(answering.run / "config.yaml")
    main(["export", "-c", config, "--ckpt_path", "best", "--out", str(folder), "--formats", "onnx"])
    return folder
