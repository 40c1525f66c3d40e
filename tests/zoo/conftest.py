"""The toy data of `train_script.py`, for tests in this process too, and scripts run by several processes."""

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from answering import answering as answering
from ranks import run_on_ranks, saved_by_ranks

if TYPE_CHECKING:
    from wandb_server import Server

SCRIPT = Path(__file__).with_name("train_script.py")


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    """`train_script` as a module: SCHEMA, columns, InMemory."""
    path = Path(__file__).with_name("train_script.py")
    spec = importlib.util.spec_from_file_location("mtlzoo_train_script", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def wandb_server(monkeypatch: pytest.MonkeyPatch) -> Iterator["Server"]:
    """A stand-in for W&B's backend, which wandb takes for the real one in this test; it could answer everything."""
    import wandb  # here, as most tests of this folder also run where it is not installed
    from wandb_server import serving

    for name in ("ENTITY", "PROJECT", "DIR", "RUN_ID", "SWEEP_ID", "SWEEP_PARAM_PATH"):
        monkeypatch.setenv(f"WANDB_{name}", "")  # so that what wandb puts there is gone after the test
        monkeypatch.delenv(f"WANDB_{name}")
    with serving() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        wandb.teardown()  # its service process keeps what the test before had set
        yield server
        wandb.teardown()
    assert not server.backend.failures


@pytest.fixture(scope="session")
def run() -> Callable[..., list[dict[str, Any]]]:
    """Runs a script of this folder once per rank."""
    return _run


def _run(folder: Path, world_size: int, options: dict[str, Any], script: Path = SCRIPT) -> list[dict[str, Any]]:
    """What every rank saved."""
    folder.mkdir()
    run_on_ranks(script, world_size, str(folder), json.dumps(options))
    return saved_by_ranks(folder, world_size)
