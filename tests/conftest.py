"""Shared by all tests: where real and golden data are, a fixed seed, and nothing that leaves the machine."""

import gc
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from chosen_device import DEVICE, TESTS, OnDevice, reason_to_stay

REPOSITORY = Path(__file__).resolve().parents[1]


# Read before any test changes the working folder.
DATA = Path(os.environ.get("MTLZOO_DATA") or REPOSITORY / "../shared/data").absolute()
GOLDEN = Path(os.environ.get("MTLZOO_GOLDEN") or REPOSITORY / "../shared/golden").absolute()


if DEVICE.type != "cpu":
    OnDevice().__enter__()  # type: ignore[no-untyped-call]


gc.disable()


def pytest_collection_finish() -> None:
    """Collects garbage from here on: what was imported and collected before stays, and is not looked through again."""
    gc.enable()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)  # before those that are slow are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with the files that have slow tests, so that no worker ends with one alone.

    Leaves the quick part the first case of each test; skips what stays on the CPU on another device.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)  # whole files, whose fixtures are made once
    seen = set()
    for item in items:
        test = item.nodeid.partition("[")[0]
        if test in seen and not item.get_closest_marker("every_case"):
            item.add_marker("slow")
        seen.add(test)
    for item in items if DEVICE.type != "cpu" else []:
        if reason := reason_to_stay(item.path.relative_to(TESTS).as_posix() + item.nodeid.partition(".py")[2]):
            item.add_marker(pytest.mark.skip(reason=f"on the CPU only: {reason}"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test that takes `golden_file` over every file of models in `MTLZOO_GOLDEN`."""
    if "golden_file" in metafunc.fixturenames:
        files = sorted(path for path in GOLDEN.glob("*.json") if path.stem != "rules")
        missing = pytest.param(None, marks=pytest.mark.skip(reason=f"no golden files at {GOLDEN}; set MTLZOO_GOLDEN"))
        metafunc.parametrize("golden_file", files or [missing], ids=lambda path: path.stem if path else "none")


LAUNCHED = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "GROUP_RANK", "RANK", "LOCAL_RANK", "WORLD_SIZE")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of real data sets; the test is skipped where there is none."""
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA}; set MTLZOO_DATA")
    return DATA


@pytest.fixture(autouse=True)
def _hermetic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Every test starts from one seed, works in a folder of its own, talks to no server, and is one process alone."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MTLZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    before = {name: os.environ.get(name) for name in LAUNCHED}
    yield
    # Lightning leaves the group of a strategy over processes open, and what it told other processes in the environment.
    if dist.is_initialized():
        dist.destroy_process_group()
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server can be reached, and nothing waits to try again."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("the network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("mtlzoo.datamodules.download.fetch.WAITS", ())
